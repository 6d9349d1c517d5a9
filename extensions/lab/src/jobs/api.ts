import { call } from '../gateway/server';

import { Job, JobEntry } from './types';

/** The job that this notebook server runs in. */
export function job(): Promise<Job> {
  return call('landbridge/job');
}

/** Everything of mine that runs as a job. */
export async function jobs(): Promise<JobEntry[]> {
  return (await call<{ jobs: JobEntry[] }>('landbridge/jobs')).jobs;
}

/** End one of them. */
export function end(entry: JobEntry): Promise<void> {
  return call(`landbridge/jobs/${encodeURIComponent(entry.kind)}/${encodeURIComponent(entry.id)}/end`, 'POST', {});
}
