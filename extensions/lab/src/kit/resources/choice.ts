import { Bounds, Choice, Field, GpuPool, Options, Remembered } from './types';

export const FIELDS: readonly Field[] = [
  'gpus',
  'gpu_model',
  'cpus',
  'memory',
  'time_limit',
  'partition',
  'account',
  'qos'
];
const NUMBERS: ReadonlySet<Field> = new Set<Field>(['gpus', 'cpus', 'memory', 'time_limit']);
const NAME = /^[A-Za-z0-9][A-Za-z0-9._:@+-]{0,63}$/;

function isAllowed(value: number | string, bounds: Bounds): boolean {
  if (typeof value === 'number') {
    return value >= (bounds.min ?? 0) && value <= (bounds.max ?? Infinity);
  }
  return bounds.values ? bounds.values.includes(value) : bounds.any === true;
}

/**
 * Resources as a notebook remembers them, or a job had them.
 *
 * Notebooks come from anywhere: what is malformed, unknown or not on offer here is
 * left out, and the rest is a proposal that the person confirms in the dialog.
 */
export function readChoice(value: unknown, offer: Pick<Options, 'choices'>): Choice {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return {};
  }
  const found: Partial<Record<Field, number | string>> = {};
  for (const field of FIELDS) {
    const bounds = offer.choices[field];
    const one = Object.hasOwn(value, field) ? (value as Record<string, unknown>)[field] : null;
    const isShaped = NUMBERS.has(field)
      ? typeof one === 'number' && Number.isSafeInteger(one)
      : typeof one === 'string' && NAME.test(one);
    if (bounds && isShaped && isAllowed(one as number | string, bounds)) {
      found[field] = one as number | string;
    }
  }
  if (!found.gpus) {
    delete found.gpu_model;
  }
  return found as Choice;
}

/** What the dialog shows first: what the site proposes, and over it what is remembered. */
export function firstChoice(remembered: unknown, offer: Options): Choice {
  const proposed = readChoice(offer.defaults, offer);
  const mine = readChoice(remembered, offer);
  const both = { ...proposed, ...mine };
  if (mine.gpus !== undefined && mine.gpu_model === undefined) {
    delete both.gpu_model;
  }
  return both;
}

/** The resources of a job as a choice that starts the like of it. */
export function choiceOf(resources: Remembered | null, offer: Options): Choice {
  return readChoice(resources, offer);
}

/** GPUs of one model over all partitions. */
export interface Model {
  model: string;
  idle: number;
  total: number;
  perNode: number;
}

/** Models on offer, the most idle first; only those that may be chosen. */
export function models(pools: readonly GpuPool[], bounds: Bounds | undefined): Model[] {
  const found = new Map<string, Model>();
  // A node may be in several partitions: the same GPUs must not count twice.
  for (const pool of pools) {
    const seen = found.get(pool.model);
    found.set(pool.model, {
      model: pool.model,
      idle: Math.max(seen?.idle ?? 0, pool.idle),
      total: Math.max(seen?.total ?? 0, pool.total),
      perNode: Math.max(seen?.perNode ?? 0, pool.per_node)
    });
  }
  return [...found.values()]
    .filter(one => !bounds || isAllowed(one.model, bounds))
    .sort((a, b) => b.idle - a.idle || a.model.localeCompare(b.model));
}

/** Whether the GPUs that are asked for are idle now, in words; "" without GPUs. */
export function outlook(choice: Choice, offered: readonly Model[]): string {
  const wanted = choice.gpus ?? 0;
  if (!wanted || !offered.length) {
    return '';
  }
  const fits = offered.filter(one => !choice.gpu_model || one.model === choice.gpu_model);
  if (fits.some(one => one.idle >= wanted)) {
    return 'Idle now: it can start at once.';
  }
  return 'Not idle now: it will wait in the queue.';
}
