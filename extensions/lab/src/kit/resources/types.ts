/** What may be chosen of a job's resources, and what was chosen. */

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

/** What a kernel, endpoint or cluster had, or a document remembers of one: untrusted. */
export type Remembered = Partial<Record<Field, number | string | null>>;

/**
 * Asks whether a choice may be had; answers it in words.
 *
 * Rejects with `Refused`, which names the field.
 */
export type Check = (choice: Choice) => Promise<string>;
