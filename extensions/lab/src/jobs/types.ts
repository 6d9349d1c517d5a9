/** What the notebook server's own job looks like now. */
export interface Job {
  /** The scheduler's id, or null outside a batch job. */
  job_id: string | null;
  node: string | null;
  /** When the time limit falls due (ISO, UTC), or null for no limit. */
  ends_at: string | null;
  /** The server's clock, so that a wrong clock in the browser does no harm. */
  now: string;
}

/** Use of one GPU: percent, and memory in bytes. */
export interface GpuUse {
  index: number;
  utilization: number;
  memory_used: number;
  memory_total: number;
}

/** One entry of "My jobs". */
export interface JobEntry {
  kind: string;
  id: string;
  title: string;
  state: string;
  message: string;
  node: string | null;
  job_id: string | null;
  /** Seconds. */
  time_left: number | null;
  resources: string;
  gpu_use: GpuUse[] | null;
  can_end: boolean;
  keep_until?: string | null;
  /** The most hours for which it may be kept; nothing where it cannot. */
  keep_hours?: number | null;
  url?: string;
}
