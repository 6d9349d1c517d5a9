import { clock, duration, soonClock } from '../kit/words';

import { KernelView } from './types';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** How much a line wants to be seen. */
export type Tone = 'quiet' | 'wait' | 'warn' | 'wrong';

/** One line about a kernel, and what its user can do about it. */
export interface Line {
  tone: Tone;
  text: string;
  more: string;
  actions: ('cancel' | 'again' | 'move' | 'keep' | 'details')[];
}

/**
 * Where a waiting kernel is: "Waiting for GPUs · place 3 in line · may start about 14:32".
 *
 * The server's line may hold the same facts, its times in the server's own zone: then
 * it says nothing more than these.
 */
export function queueWords(view: KernelView): string {
  const place = view.queue_place === null ? '' : `number ${view.queue_place} in line`;
  const start = view.estimated_start === null ? '' : `may start about ${clock(view.estimated_start)}`;
  const isSame = place && view.message.includes(place);
  const parts = [isSame ? 'Waiting in the queue' : view.message, place, start];
  return parts.filter(Boolean).join(' · ');
}

function waiting(view: KernelView | null, what: string): Line {
  const state = view?.state ?? 'submitting';
  const text =
    state === 'queued'
      ? `${what} waits for its job.`
      : state === 'starting'
        ? `${what} starts${view?.node ? ` on ${view.node}` : ''}.`
        : `${what} is handed to the queue.`;
  const more = state === 'queued' && view ? queueWords(view) : '';
  return { tone: 'wait', text, more, actions: ['cancel', 'details'] };
}

/**
 * The line that a document shows of its kernel; null if there is nothing to tell.
 *
 * @param view - of its kernel; null if it is no job.
 * @param successor - of the kernel that waits to take over; undefined if none.
 * @param left - milliseconds to the time limit; null for none.
 */
export function noticeLine(
  view: KernelView | null,
  successor: KernelView | null | undefined,
  left: number | null
): Line | null {
  if (successor !== undefined) {
    return successor?.state === 'dead' ? dead(successor, 'cancel') : waiting(successor, 'The new kernel');
  }
  if (view === null) {
    return null;
  }
  switch (view.state) {
    case 'submitting':
    case 'queued':
    case 'starting':
      return waiting(view, 'The kernel');
    case 'dead':
      return dead(view, 'again');
    case 'running':
      return running(view, left);
    default:
      return null;
  }
}

function dead(view: KernelView, first: 'again' | 'cancel'): Line {
  const text = view.failure?.title ?? (view.message || 'The kernel is dead');
  return {
    tone: 'wrong',
    text: text.replace(/[^.!?]$/, '$&.'),
    more: view.failure?.hint ?? '',
    actions: [first, 'move', 'details']
  };
}

/** Milliseconds before its end from which a kernel warns: a fifth of its time, 1 to 15 min. */
function endIsNear(view: KernelView): number {
  const limit = view.resources?.time_limit;
  const fifth = typeof limit === 'number' ? limit * 200 : 15 * MINUTE;
  return Math.min(15 * MINUTE, Math.max(MINUTE, fifth));
}

function running(view: KernelView, left: number | null): Line | null {
  if (view.idle.warning) {
    return { tone: 'warn', text: view.idle.warning, more: '', actions: ['keep', 'details'] };
  }
  if (left !== null && left <= endIsNear(view)) {
    const text = `The kernel's job ends in ${duration(left)}.`;
    return { tone: 'warn', text, more: 'Save what it holds in memory.', actions: ['move', 'details'] };
  }
  return null;
}

const KEEP_HOURS = [1, 4, 12, 24, 72, 168];
const JOBS_END = 'until its job ends';

/**
 * For how long a kernel may be kept, as hours and in words.
 *
 * @param most - hours that the site allows.
 * @param left - milliseconds until its job's time limit; null for none.
 */
export function keepChoices(most: number, left: number | null): [hours: number, words: string][] {
  const lasts = left === null ? Infinity : left / HOUR;
  const some = KEEP_HOURS.filter(hours => hours < Math.min(most, lasts));
  const last: [number, string] =
    lasts <= most ? [Math.min(most, Math.max(lasts, 0.1)), JOBS_END] : [most, `for ${duration(most * HOUR)}`];
  return [...some.map((hours): [number, string] => [hours, `for ${duration(hours * HOUR)}`]), last];
}

/** Until when a kernel is kept, in words. */
export function keptWords(until: string, left: number | null, now = Date.now()): string {
  const isJobsEnd = left !== null && Date.parse(until) > now + left - 2 * MINUTE;
  return isJobsEnd ? JOBS_END : `until ${soonClock(until)}`;
}

/** The few words in the status bar; "" for a kernel that is no job. */
export function statusWords(view: KernelView | null, left: number | null): string {
  if (view === null) {
    return '';
  }
  switch (view.state) {
    case 'queued':
      return view.queue_place === null ? 'Kernel in the queue' : `Kernel in the queue, place ${view.queue_place}`;
    case 'submitting':
    case 'starting':
      return 'Kernel starts';
    case 'ending':
      return 'Kernel ends';
    case 'dead':
      return 'Kernel ended';
    case 'running':
      return (
        [view.node ?? '', left === null ? '' : `${duration(left)} left`].filter(Boolean).join(' · ') || 'Kernel runs'
      );
    default:
      return '';
  }
}
