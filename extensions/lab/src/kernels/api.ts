import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { Choice, Job, JobEntry, KernelView, Options } from './types';

/** What the server said no to, in its words. */
export class Refused extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly field: string = '',
    readonly hint: string = ''
  ) {
    super(message);
  }
}

async function refusal(answer: Response): Promise<Refused> {
  const said: unknown = await answer.json().catch(() => null);
  const error = (said as { error?: Record<string, unknown>; message?: unknown } | null) ?? {};
  const words = error.error ?? { message: error.message };
  const text = (value: unknown) => (typeof value === 'string' ? value : '');
  return new Refused(
    text(words.message) || `The notebook server answered ${answer.status}.`,
    answer.status,
    text(words.field),
    text(words.hint)
  );
}

async function call<T>(path: string, method = 'GET', body?: unknown): Promise<T> {
  const settings = ServerConnection.makeSettings();
  const url = URLExt.join(settings.baseUrl, path);
  const init = body === undefined ? { method } : { method, body: JSON.stringify(body) };
  const answer = await ServerConnection.makeRequest(url, init, settings);
  if (!answer.ok) {
    throw await refusal(answer);
  }
  return (answer.status === 204 ? undefined : await answer.json()) as T;
}

const part = encodeURIComponent;

/** The job that this notebook server runs in. */
export function job(): Promise<Job> {
  return call('landbridge/job');
}

/** What may be chosen for a kernel now. */
export function options(): Promise<Options> {
  return call('landbridge/kernels/options');
}

/**
 * Check resources and keep them for the start of a kernel; returns them in words.
 *
 * Rejects with `Refused`, which names the field.
 */
export async function choose(kernelId: string, choice: Choice): Promise<string> {
  const path = `landbridge/kernels/choices/${part(kernelId)}`;
  return (await call<{ summary: string }>(path, 'PUT', choice)).summary;
}

/** Start a kernel under an id that was drawn here; it may wait in the queue. */
export async function start(kernelId: string, name: string, path: string): Promise<void> {
  await call('api/kernels', 'POST', { name, kernel_id: kernelId, path });
}

/** Where a kernel is. */
export function kernel(kernelId: string): Promise<KernelView> {
  return call(`landbridge/kernels/${part(kernelId)}`);
}

/** End a kernel and its job, also in the queue. */
export function cancel(kernelId: string): Promise<void> {
  return call(`landbridge/kernels/${part(kernelId)}/cancel`, 'POST', {});
}

/** Let a kernel outlive the server and its idle times for some hours; 0 for no longer. */
export function keep(kernelId: string, hours: number): Promise<KernelView> {
  const asked = hours > 0 ? { keep: true, hours } : { keep: false };
  return call(`landbridge/kernels/${part(kernelId)}/keep`, 'PUT', asked);
}

/** Everything of mine that runs as a job. */
export async function jobs(): Promise<JobEntry[]> {
  return (await call<{ jobs: JobEntry[] }>('landbridge/jobs')).jobs;
}

/** End one of them. */
export function end(entry: JobEntry): Promise<void> {
  return call(`landbridge/jobs/${part(entry.kind)}/${part(entry.id)}/end`, 'POST', {});
}
