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
