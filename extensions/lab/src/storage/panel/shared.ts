import { createContext, useCallback, useContext, useEffect, useMemo, useState, useSyncExternalStore } from 'react';

import { Api, Refused, words } from '../api';
import { PanelHost } from './host';
import { Listing } from './listing';
import { Bucket, Me } from '../types';
import { Queue } from '../upload/queue';

/** What all parts of the panel work with. */
export interface Shared {
  api: Api;
  me: Me;
  host: PanelHost;
  queue: Queue;
  buckets: Bucket[];
  /** Say something for a while, read out by screen readers. */
  say(text: string, tone?: 'good' | 'bad'): void;
  /** Read anew who asks and what there is: buckets, quota. */
  reread(): void;
  /** A task was begun, or may have ended. */
  tasksChanged(): void;
}

const Context = createContext<Shared | null>(null);
export const SharedProvider = Context.Provider;

export function useShared(): Shared {
  const shared = useContext(Context);
  if (!shared) {
    throw new Error('A part of the storage panel is used outside of it.');
  }
  return shared;
}

/** What was read, what went wrong, and how to read it again. */
export interface Asked<T> {
  value: T | null;
  problem: string;
  /** Whether it may work by itself a little later. */
  passing: boolean;
  /** What it was refused for. */
  fault: unknown;
  /** How many answers there were, good or bad. */
  answers: number;
  again(): void;
}

/** Read something when shown and whenever `again` is called. */
export function useAsked<T>(read: () => Promise<T>, deps: unknown[]): Asked<T> {
  const [state, set] = useState<Omit<Asked<T>, 'again'>>({ value: null, problem: '', passing: false, fault: null, answers: 0 });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let alive = true;
    read().then(
      value => alive && set(old => ({ value, problem: '', passing: false, fault: null, answers: old.answers + 1 })),
      error => {
        const told = error instanceof Refused ? error : null;
        if (alive) {
          set(old => ({
            value: old.value,
            problem: words(error),
            passing: told?.passing ?? false,
            fault: error,
            answers: old.answers + 1
          }));
        }
      }
    );
    return () => {
      alive = false;
    };
    // `read` is new at each drawing; what it depends on is in `deps`.
  }, [...deps, turn]);
  return { ...state, again: useCallback(() => setTurn(old => old + 1), []) };
}

/** Draw again whenever the upload queue has changed. */
export function useQueue(queue: Queue): number {
  return useSyncExternalStore(queue.subscribe, () => queue.version);
}

/**
 * A listing of a prefix, new for each `turn`, a number that counts its changes, and why
 * the last reading failed.
 *
 * When the same place is read again, what was known stays until there is something new.
 */
export function useListing(api: Api, bucket: string, prefix: string, turn: number): [Listing, number, unknown] {
  const [version, setVersion] = useState(0);
  const fresh = useMemo(
    () =>
      new Listing(
        at => api.page(bucket, prefix, at),
        () => setVersion(old => old + 1),
        error => error instanceof Refused && error.passing
      ),
    // `turn`: read it all again.
    [api, bucket, prefix, turn]
  );
  const place = `${bucket}/${prefix}`;
  const [shown, show] = useState({ place, listing: fresh });
  const keep = shown.place === place && !fresh.begun && (fresh.fault === null || shown.listing.known > 0);
  const listing = keep ? shown.listing : fresh;
  useEffect(() => () => fresh.close(), [fresh]);
  useEffect(() => {
    if (!fresh.begun) {
      void fresh.look(0, 0);
    }
  }, [fresh, version]);
  useEffect(() => {
    if (listing === fresh) {
      show({ place, listing });
    }
  }, [listing, fresh, place]);
  return [listing, version, fresh.fault ?? listing.fault];
}

/** Whether a right allows changes at a prefix. */
export function writable(buckets: Bucket[], name: string, prefix: string): boolean {
  return buckets.some(one => one.name === name && prefix.startsWith(one.prefix) && one.mode === 'read-write');
}

/** Whether a bucket is one's own, to share and to delete. */
export function owned(buckets: Bucket[], name: string): boolean {
  return buckets.some(one => one.name === name && (one.why === 'own' || one.why === 'key'));
}

/** Whether parts of it can be shared: not by a key of one's own, which nobody can narrow. */
export function shareable(buckets: Bucket[], name: string): boolean {
  return buckets.some(one => one.name === name && one.why === 'own');
}
