/** What may be chosen of one thing: bounds, a list, or any plain name. */
export interface Bounds {
  min?: number;
  max?: number;
  values?: string[];
  any?: boolean;
}

export type Field = 'gpus' | 'gpu_model' | 'cpus' | 'memory' | 'time_limit' | 'partition' | 'account' | 'qos';

/** Resources that were chosen: memory in bytes, time in seconds; unset is the default. */
export interface Choice {
  gpus?: number;
  gpu_model?: string;
  cpus?: number;
  memory?: number;
  time_limit?: number;
  partition?: string;
  account?: string;
  qos?: string;
}

/** GPUs of one model in one partition. */
export interface GpuPool {
  model: string;
  idle: number;
  total: number;
  per_node: number;
  partition: string;
}

export interface Partition {
  name: string;
  default: boolean;
}

/** What the dialog offers. */
export interface Options {
  /** How old the reading of the cluster is, in seconds. */
  age: number | null;
  gpus: GpuPool[];
  partitions: Partition[];
  accounts: string[];
  choices: Partial<Record<Field, Bounds>>;
  defaults: Partial<Record<Field, number | string | null>>;
}

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
