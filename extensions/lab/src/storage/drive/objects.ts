import { ServerConnection } from '@jupyterlab/services';

import { Refused, words } from '../../gateway/refused';
import { Send } from '../../gateway/send';
import { Api, reach } from '../api';
import { Count, Me, NewTask, Page } from '../types';
import { checksum } from '../upload/crc32';

import { Right } from './paths';

/** Most objects of one folder that are listed. */
export const MOST_LISTED = 5000;
const LARGEST_OPENED = 200e6;
const RIGHTS_LIVE = 15_000;
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 2000;

/** An object's content, and the ETag that says which one it is. */
export interface Content {
  blob: Blob;
  etag: string;
  modified: string;
}

/** What is known of an object without its content. */
export interface Facts {
  size: number;
  etag: string;
  modified: string;
}

/** Objects as a drive needs them; bytes go between the browser and the store only. */
export class Objects {
  constructor(send: Send) {
    this.api = new Api(send);
  }

  readonly api: Api;

  /** What the user may reach, asked for anew now and then. */
  rights(): Promise<Right[]> {
    if (Date.now() > this.rightsUntil) {
      this.rightsUntil = Date.now() + RIGHTS_LIVE;
      this.known = this.api.buckets();
      this.known.catch(() => (this.rightsUntil = 0));
    }
    return this.known;
  }

  /** Return an object's facts; null if there is none. */
  async head(bucket: string, key: string): Promise<Facts | null> {
    try {
      const { size, etag, modified } = await this.api.head(bucket, key);
      return { size, etag, modified: modified ?? new Date(0).toISOString() };
    } catch (error) {
      if (error instanceof Refused && error.status === 404) {
        return null;
      }
      throw failure(error);
    }
  }

  /** Return all of an object. Rejects with 404 if there is none. */
  async read(bucket: string, key: string): Promise<Content> {
    const facts = await this.head(bucket, key);
    if (facts === null) {
      throw refused(404, `There is no ${key} in ${bucket}.`);
    }
    if (facts.size > LARGEST_OPENED) {
      throw refused(
        413,
        'This object is too large to be opened here. Look at it in the Storage panel, or copy it home.'
      );
    }
    const [me, signed] = await Promise.all([this.me(), this.told(this.api.downloadUrl(bucket, key, true))]);
    const answer = await fetch(reach(me, signed), { headers: signed.headers, credentials: 'omit' }).catch(away);
    if (!answer.ok) {
      throw refused(answer.status, `The store answered ${answer.status}.`);
    }
    const etag = bare(answer.headers.get('ETag')) || facts.etag;
    const blob = await answer.blob();
    return { blob, etag, modified: facts.modified };
  }

  /**
   * Write an object: over the one of `etag` and no other; without it, where none is.
   *
   * Rejects with 409 if it is another one by now. Returns the new ETag.
   */
  async write(bucket: string, key: string, blob: Blob, type: string, etag: string | null): Promise<string> {
    const upload = {
      bucket,
      key,
      size: blob.size,
      content_type: /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/.test(type) ? type : 'application/octet-stream',
      crc32: await checksum(blob),
      overwrite: false,
      ...(etag === null ? {} : { if_match: bare(etag) })
    };
    const [me, signed] = await Promise.all([this.me(), this.told(this.api.uploadUrl(upload))]);
    const init = { method: signed.method, body: blob, headers: sendable(signed.headers), credentials: 'omit' } as const;
    const answer = await fetch(reach(me, signed), init).catch(away);
    if (answer.status === 412 || answer.status === 409) {
      throw refused(409, `${key} was changed meanwhile by somebody else. Save again to see the choice that you have.`);
    }
    if (!answer.ok) {
      throw refused(answer.status, `The store answered ${answer.status}: ${key} was not saved.`);
    }
    return bare(answer.headers.get('ETag'));
  }

  /** Return what lies directly under a prefix, and whether there is more. */
  async list(bucket: string, prefix: string): Promise<Page & { isCut: boolean }> {
    const found: Page = { objects: [], prefixes: [], token: null, next: null };
    do {
      const page = await this.told(this.api.page(bucket, prefix, { token: found.token ?? undefined }));
      found.objects.push(...page.objects);
      found.prefixes.push(...page.prefixes);
      found.token = page.token;
    } while (found.token !== null && found.objects.length + found.prefixes.length < MOST_LISTED);
    return { ...found, isCut: found.token !== null };
  }

  /** Whether anything lies under a prefix. */
  async hasAny(bucket: string, prefix: string): Promise<boolean> {
    const page = await this.told(this.api.page(bucket, prefix, { limit: 1 }));
    return page.objects.length + page.prefixes.length > 0;
  }

  /** How many objects lie under a prefix, and their bytes. */
  count(bucket: string, prefix: string): Promise<Count> {
    return this.told(this.api.count({ bucket, keys: [], prefixes: [prefix] }));
  }

  /** Have the service copy, move or delete, and wait until that is over. */
  async work(task: NewTask): Promise<void> {
    let { id, phase, message, failures } = await this.told(this.api.begin(task));
    let pause = FIRST_PAUSE;
    while (phase === 'waiting' || phase === 'running') {
      await new Promise(resolve => setTimeout(resolve, pause));
      pause = Math.min(2 * pause, LONGEST_PAUSE);
      ({ phase, message, failures } = await this.told(this.api.task(id)));
    }
    if (phase !== 'done' || failures.length) {
      throw refused(409, failures[0]?.message || message || `This was ${phase}.`);
    }
  }

  async downloadUrl(bucket: string, key: string): Promise<string> {
    const [me, signed] = await Promise.all([this.me(), this.told(this.api.downloadUrl(bucket, key))]);
    return reach(me, signed);
  }

  private me(): Promise<Me> {
    this.mine ??= this.told(this.api.me());
    this.mine.catch(() => (this.mine = null));
    return this.mine;
  }

  private told<T>(call: Promise<T>): Promise<T> {
    return call.catch((error: unknown) => Promise.reject(failure(error)));
  }

  private mine: Promise<Me> | null = null;
  private known: Promise<Right[]> = Promise.resolve([]);
  private rightsUntil = 0;
}

/** Return an error as JupyterLab's contents have it: by its status it knows what to do. */
export function refused(status: number, message: string): ServerConnection.ResponseError {
  const answer = new Response(null, { status: status >= 400 && status < 600 ? status : 503 });
  return new ServerConnection.ResponseError(answer, message);
}

function failure(error: unknown): Error {
  if (error instanceof Refused) {
    return refused(error.status || 503, words(error));
  }
  return error instanceof Error ? error : new Error(String(error));
}

function away(): never {
  throw refused(503, 'The store does not answer. Check your network and try again.');
}

/** A browser sets the length by itself, and refuses to be told. */
function sendable(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name.toLowerCase() !== 'content-length'));
}

/** An ETag without its quotes. */
export function bare(etag: string | null): string {
  return (etag ?? '').replace(/^W\//, '').replace(/"/g, '');
}
