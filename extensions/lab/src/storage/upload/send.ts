/** One file to the store: parts in parallel, each with its checksum, again if need be. */

import { Refused } from '../../gateway/refused';
import { Api, reach } from '../api';
import { Me, SignedUrl } from '../types';

import { checksum } from './crc32';
import { Kept, Upload } from './kept';

/** Files up to this size go in one piece. */
const SINGLE = 8 * 2 ** 20;
const TRIES = 7;
const LONGEST_WAIT = 30_000;
const EDGE = 65_536;
/** After so long without a byte it is said that the store does not answer; */
const QUIET = 10_000;
/** after so long it is given up. Slow lines hold megabytes that have left here. */
const STALLED = 120_000;

/** What a transfer tells while it runs. */
export interface Sending {
  file: File;
  item: Kept;
  signal: AbortSignal;
  /** Bytes that have arrived, of the whole file. */
  progress(sent: number): void;
  /** Why it does not go on at the moment. */
  trouble(words: string): void;
  /** Something has to be remembered before going on. */
  keep(item: Kept): Promise<void>;
  /** Lets in so many at a time, over all files. */
  slots: Slots;
}

/** So many at a time. */
export class Slots {
  constructor(private free: number) {}

  async use<T>(work: () => Promise<T>): Promise<T> {
    if (this.free > 0) {
      this.free -= 1;
    } else {
      await new Promise<void>(go => this.waiting.push(go));
    }
    try {
      return await work();
    } finally {
      const next = this.waiting.shift();
      if (next) {
        next();
      } else {
        this.free += 1;
      }
    }
  }

  private waiting: (() => void)[] = [];
}

/** Knows a file again: its beginning and its end. */
export async function markOf(file: File): Promise<string> {
  const ends = [file.slice(0, EDGE), file.slice(Math.max(0, file.size - EDGE))];
  return (await Promise.all(ends.map(blob => checksum(blob)))).join('');
}

/** Resolve after a time, or at once when told to stop or the network is back. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise(done => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      window.removeEventListener('online', end);
      done();
    };
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener('abort', end);
    window.addEventListener('online', end);
  });
}

/** Do something again while it fails in a way that may pass, ever more slowly. */
async function patiently<T>(work: () => Promise<T>, sending: Sending): Promise<T> {
  const { signal } = sending;
  for (let tried = 1; ; tried++) {
    signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      const passing = error instanceof Refused && error.passing;
      if (signal.aborted || !passing || tried >= TRIES) {
        throw error;
      }
      sending.trouble(`${error.message} It is tried again.`);
    }
    await pause(Math.min(LONGEST_WAIT, 1000 * 2 ** (tried - 1)) * (0.75 + Math.random() / 2), signal);
  }
}

const PASSING_CODES = ['BadDigest', 'RequestTimeout', 'ExpiredToken'];

/** What the store said no to; its words are XML, its codes are enough for us. */
function storeRefusal(status: number, text: string): Refused {
  const code = /<Code>(\w+)<\/Code>/.exec(text)?.[1] ?? '';
  // A URL that has expired is refused with 403; the next try has a new one.
  const again = status === 0 || status >= 500 || status === 403 || PASSING_CODES.includes(code);
  if (status === 412) {
    return new Refused('There is an object of this name already.', 409, 'conflict');
  }
  const what = status === 0 ? 'The connection to the store broke.' : `The store answered ${status} ${code}.`;
  return new Refused(what, again ? 503 : 400, code === 'NoSuchUpload' ? 'not-found' : code || 'store');
}

/** Says so when nothing moves for a while, and calls `giveUp` when nothing does. */
function watch(sending: Sending, giveUp: () => void): { moved(): void; end(): void } {
  let timers: ReturnType<typeof setTimeout>[] = [];
  const end = (): void => timers.forEach(clearTimeout);
  const moved = (): void => {
    end();
    timers = [
      setTimeout(() => sending.trouble('The store does not answer. Waiting for it.'), QUIET),
      setTimeout(giveUp, STALLED)
    ];
  };
  moved();
  return { moved, end };
}

function put(
  signed: SignedUrl,
  url: string,
  blob: Blob,
  sending: Sending,
  progress: (n: number) => void
): Promise<string> {
  const { signal } = sending;
  signal.throwIfAborted(); // told while the URL was asked for
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    const clock = watch(sending, () => {
      failed(new Refused('The store did not answer.', 503, 'store'));
      stop();
    });
    request.open(signed.method, url);
    Object.entries(signed.headers).forEach(([name, value]) => request.setRequestHeader(name, value));
    request.upload.onprogress = event => {
      clock.moved();
      progress(event.loaded);
    };
    request.onload = () => {
      if (request.status === 200) {
        done((request.getResponseHeader('ETag') ?? '').replaceAll('"', ''));
      } else {
        failed(storeRefusal(request.status, request.responseText));
      }
    };
    request.onerror = () => failed(storeRefusal(0, ''));
    request.onabort = () => failed(signal.reason as Error);
    request.onloadend = () => {
      clock.end();
      signal.removeEventListener('abort', stop);
    };
    signal.addEventListener('abort', stop);
    request.send(blob);
  });
}

/** A file that cannot be read any more fails here, before it is half sent. */
async function readable(blob: Blob, signal: AbortSignal): Promise<string> {
  try {
    return await checksum(blob, signal);
  } catch (error) {
    signal.throwIfAborted();
    throw new Refused('The file was changed or removed while it was being read.', 400, 'file', String(error));
  }
}

async function whole(api: Api, me: Me, sending: Sending): Promise<void> {
  const { item, file, signal } = sending;
  await sending.slots.use(() =>
    patiently(async () => {
      const crc32 = await readable(file, signal);
      const { bucket, key, overwrite } = item;
      const signed = await api.uploadUrl({ bucket, key, size: file.size, content_type: item.type, crc32, overwrite });
      await put(signed, reach(me, signed), file, sending, sending.progress);
    }, sending)
  );
}

async function begin(api: Api, sending: Sending): Promise<Upload> {
  const { item, file } = sending;
  const { bucket, key, overwrite } = item;
  const started = await patiently(
    () => api.beginUpload({ bucket, key, size: file.size, content_type: item.type, overwrite }),
    sending
  );
  item.upload = { id: started.upload_id, partSize: started.part_size, parts: started.parts };
  await sending.keep(item);
  return item.upload;
}

/** The parts that have arrived, by number; what is asked for again is left out. */
class Arrived {
  constructor(
    private readonly size: number,
    private readonly partSize: number,
    private readonly tell: (sent: number) => void
  ) {}

  readonly etags = new Map<number, string>();

  sizeOf(number: number): number {
    return Math.min(this.partSize, this.size - (number - 1) * this.partSize);
  }

  progress(number: number, loaded: number): void {
    this.sent.set(number, loaded);
    this.tell([...this.sent.values()].reduce((all, one) => all + one, 0));
  }

  done(number: number, etag: string): void {
    this.etags.set(number, etag);
    this.progress(number, this.sizeOf(number));
  }

  private sent = new Map<number, number>();
}

async function sendPart(
  api: Api,
  me: Me,
  sending: Sending,
  upload: Upload,
  arrived: Arrived,
  number: number
): Promise<void> {
  const { item, file, signal } = sending;
  const { bucket, key } = item;
  const from = (number - 1) * upload.partSize;
  const blob = file.slice(from, from + arrived.sizeOf(number));
  const etag = await patiently(async () => {
    const crc32 = await readable(blob, signal);
    const [signed] = await api.partUrls({ bucket, key, upload_id: upload.id }, [{ number, crc32 }]);
    return put(signed, reach(me, signed), blob, sending, loaded => arrived.progress(number, loaded));
  }, sending);
  arrived.done(number, etag);
}

/** Whether an object of this size is there: that of an answer that was lost. */
async function isThere(api: Api, item: Kept): Promise<boolean> {
  const found = await api.head(item.bucket, item.key).catch((error: unknown) => {
    if (error instanceof Refused && error.code === 'not-found') {
      return null;
    }
    throw error;
  });
  return found?.size === item.size;
}

async function complete(api: Api, sending: Sending, upload: Upload, arrived: Arrived): Promise<void> {
  const { item } = sending;
  const { bucket, key, overwrite } = item;
  const parts = [...arrived.etags].sort(([a], [b]) => a - b).map(([number, etag]) => ({ number, etag }));
  let tried = 0;
  upload.ending = true;
  await sending.keep(item);
  await patiently(async () => {
    tried += 1;
    try {
      await api.complete({ bucket, key, upload_id: upload.id, parts, overwrite });
    } catch (error) {
      const mayBeDone = tried > 1 && error instanceof Refused && ['not-found', 'conflict'].includes(error.code);
      // The answer to the try before was lost, and it had worked.
      if (!mayBeDone || !(await isThere(api, item))) {
        throw error;
      }
    }
  }, sending);
}

async function inParts(api: Api, me: Me, sending: Sending, upload: Upload): Promise<void> {
  const { item, file, slots } = sending;
  // The first failure ends the other parts, and is the one that is told.
  const stop = new AbortController();
  const signal = AbortSignal.any([sending.signal, stop.signal]);
  const both = { ...sending, signal };
  const arrived = new Arrived(file.size, upload.partSize, sending.progress);
  for (const part of await patiently(() => api.parts(item.bucket, item.key, upload.id), both)) {
    if (part.size === arrived.sizeOf(part.number)) {
      arrived.done(part.number, part.etag);
    }
  }
  const numbers = Array.from({ length: upload.parts }, (_, i) => i + 1);
  const missing = numbers.filter(number => !arrived.etags.has(number));
  const one = (number: number) => async (): Promise<void> => {
    signal.throwIfAborted();
    try {
      await sendPart(api, me, both, upload, arrived, number);
    } catch (error) {
      stop.abort(error);
      throw error;
    }
  };
  await Promise.all(missing.map(number => slots.use(one(number))));
  await complete(api, both, upload, arrived);
}

/**
 * Send one file; returns when the object is there, whole.
 *
 * Rejects with `Refused`, or with the signal's reason. An upload in parts that was
 * begun is kept and goes on where it was, also after a reload.
 */
export async function send(api: Api, me: Me, sending: Sending): Promise<void> {
  if (sending.file.size <= SINGLE) {
    await whole(api, me, sending);
    return;
  }
  const { item } = sending;
  const upload = item.upload ?? (await begin(api, sending));
  try {
    await inParts(api, me, sending, upload);
  } catch (error) {
    if (!(error instanceof Refused) || error.code !== 'not-found') {
      throw error;
    }
    // Its end was asked for and never heard of. What is replaced may be of this size too.
    if (upload.ending && !item.overwrite && (await isThere(api, item))) {
      return;
    }
    // The store has thrown the parts away meanwhile: from the start, once.
    await inParts(api, me, sending, await begin(api, sending));
  }
}
