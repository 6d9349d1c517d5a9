/** All uploads of this window: what waits, what runs, and what a reload left over. */

import { Refused, words } from '../../gateway/refused';
import { Api } from '../api';
import { Me } from '../types';

import { Picked, reopen } from './files';
import { Keeper, Kept } from './kept';
import { markOf, send, Slots } from './send';

export type State =
  | 'waiting'
  | 'sending'
  | 'paused'
  /** After a reload: the file has to be given again. */
  | 'needs-file'
  /** Something of this name is there. */
  | 'exists'
  | 'failed'
  | 'done';

/** One file of the queue. `sent` in bytes. */
export interface Item {
  kept: Kept;
  file: File | null;
  state: State;
  sent: number;
  problem: string;
  stop: AbortController | null;
  /** Ends when nothing of it runs any more. */
  work: Promise<void>;
}

const CHANGED = 'The file has changed since. Remove this upload and add the file again.';

function isSame(file: File, kept: Kept): boolean {
  return file.size === kept.size && file.lastModified === kept.modified;
}

/** Take the file of a handle again; returns what can be done with it now. */
async function reopened(item: Item, ask: boolean): Promise<State> {
  const { handle } = item.kept;
  const file = item.file ?? (handle ? await reopen(handle, ask).catch(() => null) : null);
  if (!file) {
    return 'needs-file';
  }
  if (!isSame(file, item.kept)) {
    item.problem = CHANGED;
    return 'failed';
  }
  item.file = file;
  return 'waiting';
}

function itemOf(kept: Kept, file: File | null, state: State): Item {
  return { kept, file, state, sent: 0, problem: '', stop: null, work: Promise.resolve() };
}

const FILES_AT_ONCE = 3;
const REQUESTS_AT_ONCE = 4;
const TELL_EVERY = 150;
const BATCH = 200;
const PLAIN_TYPE = /^[\w!#$&^.+-]{1,90}\/[\w!#$&^.+-]{1,90}$/;

function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), one => one.toString(16).padStart(2, '0')).join('');
}

/** Run `work` unless another window does the same; false if it does. */
async function alone(id: string, work: () => Promise<void>): Promise<boolean> {
  if (!navigator.locks) {
    await work();
    return true;
  }
  return navigator.locks.request(`landbridge-upload-${id}`, { ifAvailable: true }, async lock => {
    if (lock) {
      await work();
    }
    return lock !== null;
  });
}

/** Uploads by the person `me`; views ask it and are told by `subscribe`. */
export class Queue {
  constructor(
    private readonly api: Api,
    private readonly me: Me,
    private readonly stored: (bucket: string, key: string) => void,
    private readonly keeper = new Keeper()
  ) {}

  readonly items = new Map<string, Item>();
  /** How often it has changed, for views. */
  version = 0;

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Bring back what a reload has left over, and go on where that needs nobody. */
  async load(): Promise<void> {
    for (const kept of await this.keeper.all(this.me.user)) {
      const item = itemOf(kept, null, 'paused');
      const found = await reopened(item, false);
      // A file that is held may need no more than its person's word, by a click.
      item.state = found === 'needs-file' && kept.handle ? 'paused' : found;
      this.items.set(kept.id, item);
    }
    this.tell();
    this.next();
  }

  /** Take files in, in batches as they are found; they go below `prefix`. */
  async add(bucket: string, prefix: string, picked: AsyncIterable<Picked> | Iterable<Picked>): Promise<void> {
    let some: Item[] = [];
    for await (const one of picked) {
      some.push(this.newItem(bucket, prefix, one));
      if (some.length >= BATCH) {
        await this.take(some);
        some = [];
      }
    }
    await this.take(some);
  }

  /** Give files again that a reload took away; returns how many were missed and fit. */
  async rejoin(picked: Picked[]): Promise<number> {
    let found = 0;
    for (const { file, name } of picked) {
      for (const item of this.items.values()) {
        const { kept } = item;
        const alike = kept.name === name || kept.name.split('/').pop() === file.name;
        if (
          item.state === 'needs-file' &&
          alike &&
          isSame(file, kept) &&
          (!kept.mark || (await markOf(file)) === kept.mark)
        ) {
          item.file = file;
          item.state = 'waiting';
          found += 1;
          break;
        }
      }
    }
    this.tell();
    this.next();
    return found;
  }

  pause(id: string): void {
    const item = this.items.get(id);
    if (item && (item.state === 'waiting' || item.state === 'sending')) {
      item.state = 'paused';
      item.stop?.abort();
      this.tell();
      this.next();
    }
  }

  /** Go on; by a click, so that the browser may ask for its person's word. */
  async resume(id: string, overwrite = false): Promise<void> {
    const item = this.items.get(id);
    if (!item || item.state === 'sending' || item.state === 'done') {
      return;
    }
    if (overwrite) {
      item.kept.overwrite = true;
      await this.keeper.put([item.kept]);
    }
    item.problem = '';
    item.state = await reopened(item, true);
    this.tell();
    this.next();
  }

  /** Forget a file; what has arrived of it is thrown away. */
  async remove(id: string): Promise<void> {
    const item = this.items.get(id);
    if (!item) {
      return;
    }
    this.items.delete(id);
    item.stop?.abort();
    this.tell();
    await this.keeper.drop([id]);
    await item.work; // it may just be beginning its parts
    const { bucket, key, upload } = item.kept;
    if (upload && item.state !== 'done') {
      await this.api.abort(bucket, key, upload.id).catch(() => undefined); // else listed as unfinished
    }
    this.next();
  }

  pauseAll(): void {
    [...this.items.keys()].forEach(id => this.pause(id));
  }

  async resumeAll(): Promise<void> {
    for (const [id, item] of this.items) {
      if (item.state === 'paused' || item.state === 'failed') {
        await this.resume(id);
      }
    }
  }

  /** Take what is done off the list. */
  clear(): void {
    for (const [id, item] of this.items) {
      if (item.state === 'done') {
        this.items.delete(id);
      }
    }
    this.tell();
  }

  /** Whether an unfinished upload of the store is one of ours. */
  owns(uploadId: string): boolean {
    return [...this.items.values()].some(item => item.kept.upload?.id === uploadId);
  }

  private newItem(bucket: string, prefix: string, one: Picked): Item {
    const { file, name, handle } = one;
    const kept: Kept = {
      id: newId(),
      user: this.me.user,
      bucket,
      key: prefix + name,
      name,
      size: file.size,
      modified: file.lastModified,
      mark: '',
      type: PLAIN_TYPE.test(file.type) ? file.type : 'application/octet-stream',
      overwrite: false,
      added: Date.now()
    };
    if (handle) {
      kept.handle = handle;
    }
    return itemOf(kept, file, 'waiting');
  }

  private async take(some: Item[]): Promise<void> {
    some.forEach(item => this.items.set(item.kept.id, item));
    this.tell();
    await this.keeper.put(some.map(item => item.kept));
    this.next();
  }

  private next(): void {
    for (const item of this.items.values()) {
      if (this.running >= FILES_AT_ONCE) {
        return;
      }
      if (item.state === 'waiting' && item.file && !item.stop) {
        item.work = this.run(item, item.file);
      }
    }
  }

  private async run(item: Item, file: File): Promise<void> {
    this.running += 1;
    item.state = 'sending';
    item.problem = '';
    const stop = new AbortController();
    item.stop = stop;
    this.tell();
    try {
      const mine = await alone(item.kept.id, () => this.transfer(item, file, stop.signal));
      if (!mine) {
        item.state = 'paused';
        item.problem = 'Another window of yours sends this file.';
      }
    } catch (error) {
      this.failed(item, error, stop.signal.aborted);
    }
    item.stop = null;
    this.running -= 1;
    this.tell();
    this.next();
  }

  private async transfer(item: Item, file: File, signal: AbortSignal): Promise<void> {
    item.kept.mark ||= await markOf(file);
    await send(this.api, this.me, {
      file,
      item: item.kept,
      signal,
      slots: this.slots,
      progress: sent => {
        item.sent = sent;
        item.problem = '';
        this.tell();
      },
      trouble: words => {
        item.problem = words;
        this.tell();
      },
      // Not what was taken off the list meanwhile: it would come back by a reload.
      keep: async kept => {
        if (this.items.has(kept.id)) {
          await this.keeper.put([kept]);
        }
      }
    });
    item.state = 'done';
    item.problem = '';
    item.sent = file.size;
    item.file = null;
    await this.keeper.drop([item.kept.id]);
    this.stored(item.kept.bucket, item.kept.key);
  }

  private failed(item: Item, error: unknown, stopped: boolean): void {
    if (stopped) {
      return; // paused or removed: its state says so
    }
    const code = error instanceof Refused ? error.code : '';
    item.state = code === 'conflict' ? 'exists' : 'failed';
    if (code === 'file' && item.kept.handle) {
      item.file = null; // opened anew when it goes on, and looked at
    }
    item.problem = words(error);
  }

  private tell(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.version += 1;
      this.listeners.forEach(listener => listener());
    }, TELL_EVERY);
  }

  private slots = new Slots(REQUESTS_AT_ONCE);
  private running = 0;
  private listeners = new Set<() => void>();
  private timer: ReturnType<typeof setTimeout> | undefined;
}
