import { Field } from '../kit/resources/types';

/** Why something ended, in words. */
export interface Failure {
  title: string;
  detail: string;
  hint: string;
  log: string;
}

/** What a kernel's job asked for. */
export interface Resources extends Partial<Record<Field, number | string | null>> {
  summary: string;
}

export type State = 'submitting' | 'queued' | 'starting' | 'running' | 'ending' | 'dead' | 'local';

/** Where a kernel is. Times are ISO in UTC; null is not known. */
export interface KernelView {
  state: State;
  message: string;
  queue_place: number | null;
  estimated_start: string | null;
  node: string | null;
  job_id: string | null;
  ends_at: string | null;
  now: string;
  resources: Resources | null;
  failure: Failure | null;
  keep: boolean;
  /** Until then it is kept; null if it is not. */
  keep_until: string | null;
  /** The most hours for which it may be kept. */
  keep_hours: number;
  idle: { warning: string | null };
  notes?: string[];
}
