import { Refused } from '../gateway/refused';
import { Send } from '../gateway/send';

import * as t from './types';

function query(path: string, values: Record<string, string | number | null | undefined>): string {
  const parts = Object.entries(values)
    .filter(([, value]) => value !== '' && value !== null && value !== undefined)
    .map(([name, value]) => `${name}=${encode(String(value))}`);
  return parts.length ? `${path}?${parts.join('&')}` : path;
}

function encode(value: string): string {
  try {
    return encodeURIComponent(value);
  } catch {
    throw new Refused('This name is not Unicode, and no browser can ask for it.', 400, 'key-refused');
  }
}

/** The storage service's REST API. Every call rejects with `Refused`. */
export class Api {
  constructor(private readonly send: Send) {}

  me = (): Promise<t.Me> => this.call('GET', 'me');

  buckets = async (): Promise<t.Bucket[]> => (await this.call<{ buckets: t.Bucket[] }>('GET', 'buckets')).buckets;

  createBucket = (name: string): Promise<t.Bucket> => this.call('POST', 'buckets', { name });

  deleteBucket = (name: string): Promise<void> => this.call('DELETE', `buckets/${encode(name)}`);

  /** Measured lately, or now: may take seconds. */
  usage = (name: string): Promise<t.Usage> => this.call('GET', `buckets/${encode(name)}/usage`);

  page = (bucket: string, prefix: string, at: { token?: string; after?: string; limit?: number }): Promise<t.Page> =>
    this.call('GET', query('objects', { bucket, prefix, token: at.token, start_after: at.after, limit: at.limit }));

  head = (bucket: string, key: string): Promise<t.Head> => this.call('GET', query('objects/head', { bucket, key }));

  tags = async (bucket: string, key: string): Promise<Record<string, string>> =>
    (await this.call<{ tags: Record<string, string> }>('GET', query('objects/tags', { bucket, key }))).tags;

  setTags = (bucket: string, key: string, tags: Record<string, string>): Promise<unknown> =>
    this.call('PUT', 'objects/tags', { bucket, key, tags });

  /** The versions of all keys that begin with `prefix`. */
  versions = (bucket: string, prefix: string, after?: t.VersionsPage): Promise<t.VersionsPage> =>
    this.call(
      'GET',
      query('objects/versions', {
        bucket,
        prefix,
        key_marker: after?.key_marker,
        version_marker: after?.version_marker
      })
    );

  /** Make an earlier version the current one. */
  restore = (bucket: string, key: string, version: string): Promise<unknown> =>
    this.call('POST', 'objects/restore', { bucket, key, version });

  count = (selection: t.Selection): Promise<t.Count> => this.call('POST', 'objects/count', selection);

  /** Delete up to 1,000 keys now. */
  deleteKeys = (
    bucket: string,
    keys: string[]
  ): Promise<{ deleted: number; failures: { key: string; message: string }[] }> =>
    this.call('POST', 'objects/delete', { bucket, keys });

  tasks = async (): Promise<t.Task[]> => (await this.call<{ tasks: t.Task[] }>('GET', 'tasks')).tasks;

  begin = (task: t.NewTask): Promise<t.Task> => this.call('POST', 'tasks', task);

  cancel = (id: string): Promise<t.Task> => this.call('POST', `tasks/${encode(id)}/cancel`);

  /** `inline`: for reading by a script, not for saving. */
  downloadUrl = (bucket: string, key: string, inline = false, version = ''): Promise<t.SignedUrl> =>
    this.call('POST', 'urls/download', { bucket, key, inline, version });

  uploadUrl = (upload: {
    bucket: string;
    key: string;
    size: number;
    content_type: string;
    crc32: string;
    overwrite: boolean;
  }): Promise<t.SignedUrl> => this.call('POST', 'urls/upload', upload);

  beginUpload = (upload: {
    bucket: string;
    key: string;
    size: number;
    content_type: string;
    overwrite: boolean;
  }): Promise<t.UploadStart> => this.call('POST', 'uploads', upload);

  partUrls = async (
    of: { bucket: string; key: string; upload_id: string },
    parts: { number: number; crc32: string }[]
  ): Promise<t.SignedUrl[]> =>
    (await this.call<{ urls: t.SignedUrl[] }>('POST', 'uploads/urls', { ...of, parts })).urls;

  parts = async (bucket: string, key: string, upload_id: string): Promise<t.Part[]> =>
    (await this.call<{ parts: t.Part[] }>('GET', query('uploads/parts', { bucket, key, upload_id }))).parts;

  complete = (end: {
    bucket: string;
    key: string;
    upload_id: string;
    parts: { number: number; etag: string }[];
    overwrite: boolean;
  }): Promise<{ key: string; etag: string }> => this.call('POST', 'uploads/complete', end);

  abort = (bucket: string, key: string, upload_id: string): Promise<void> =>
    this.call('POST', 'uploads/abort', { bucket, key, upload_id });

  unfinished = (bucket: string, prefix: string, after?: t.UnfinishedPage): Promise<t.UnfinishedPage> =>
    this.call(
      'GET',
      query('uploads', { bucket, prefix, key_marker: after?.key_marker, upload_marker: after?.upload_marker })
    );

  shares = async (): Promise<t.Share[]> => (await this.call<{ shares: t.Share[] }>('GET', 'shares')).shares;

  share = (share: t.NewShare): Promise<t.Share> => this.call('POST', 'shares', share);

  endShare = (id: string): Promise<void> => this.call('DELETE', `shares/${encode(id)}`);

  links = async (): Promise<t.Link[]> => (await this.call<{ links: t.Link[] }>('GET', 'links')).links;

  link = (bucket: string, key: string, expires: string | null): Promise<t.Link> =>
    this.call('POST', 'links', { bucket, key, expires });

  endLink = (id: string): Promise<void> => this.call('DELETE', `links/${encode(id)}`);

  /** The keys of programs that are still good; not the keys themselves. */
  credentials = async (): Promise<t.Credential[]> =>
    (await this.call<{ credentials: t.Credential[] }>('GET', 'credentials')).credentials;

  endCredential = (id: string): Promise<void> => this.call('DELETE', `credentials/${encode(id)}`);

  /** What was done, newest first; with `before`, only what came before that entry. */
  audit = async (before: number, limit: number): Promise<t.AuditEntry[]> =>
    (await this.call<{ entries: t.AuditEntry[] }>('GET', query('audit', { before: before || null, limit }))).entries;

  /** Which key of the store its user entered; '' for none. */
  ownKey = (): Promise<{ access_key: string }> => this.call('GET', 'key');

  forgetKey = (): Promise<void> => this.call('DELETE', 'key');

  /** Keep a key of the store that its user has, where the site wants that. */
  keepKey = (key: { access_key: string; secret_key: string; session_token: string }): Promise<void> =>
    this.call('PUT', 'key', key);

  private call<T>(method: string, path: string, body?: unknown): Promise<T> {
    return this.send(method, path, body) as Promise<T>;
  }
}

/**
 * Where the browser sends a signed request.
 *
 * Behind the gateway's own path the URL holds for whatever name the gateway was reached
 * by, and a relay may not know the scheme: only path and query count. A store with a
 * host of its own is reached there, and so is the service, where it told us its own.
 */
export function reach(me: t.Me, signed: t.SignedUrl): string {
  if (!me.path || (me.pages && signed.url.startsWith(me.pages))) {
    return signed.url;
  }
  const at = signed.url.indexOf('/', signed.url.indexOf('//') + 2);
  return window.location.origin + signed.url.slice(at);
}
