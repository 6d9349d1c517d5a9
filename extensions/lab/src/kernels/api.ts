import { call } from '../gateway/server';
import { Choice, Options } from '../kit/resources/types';

import { KernelView } from './types';

const part = encodeURIComponent;

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
