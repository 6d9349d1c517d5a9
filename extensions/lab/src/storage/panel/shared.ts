import { createContext, useContext, useEffect, useMemo, useState, useSyncExternalStore } from 'react';

import { Refused } from '../../gateway/refused';
import { Say } from '../../kit/toast';
import { Api } from '../api';
import { Bucket, Me } from '../types';
import { Queue } from '../upload/queue';

import { PanelHost } from './host';
import { Listing } from './listing';

/** What all parts of the panel work with. */
export interface Shared {
  api: Api;
  me: Me;
  host: PanelHost;
  queue: Queue;
  buckets: Bucket[];
  say: Say;
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
