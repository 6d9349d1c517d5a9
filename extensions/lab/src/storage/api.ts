import { operations, OPERATIONS } from '../gateway/generated/storage';
import { all, Asked, rest } from '../gateway/rest';
import { Send } from '../gateway/send';

import * as t from './types';

type Body<Name extends keyof operations> = Asked<operations[Name]> extends { body: infer Content } ? Content : never;
type ObjectKey = { bucket: string; key: string };

/** The storage service's REST API, as its OpenAPI document has it. Every call rejects with `Refused`. */
export class Api {
  constructor(send: Send) {
    this.ask = rest<operations>(OPERATIONS, send);
  }

  me = (): Promise<t.Me> => this.ask('show_me');

  buckets = async (): Promise<t.Bucket[]> => (await this.ask('list_buckets')).buckets;

  createBucket = (name: string): Promise<t.Bucket> => this.ask('create_bucket', { body: { name } });

  deleteBucket = (bucket: string) => this.ask('delete_bucket', { path: { bucket } });

  /** Measured lately, or now: may take seconds. */
  usage = (bucket: string): Promise<t.Usage> => this.ask('measure_bucket', { path: { bucket } });

  page = (bucket: string, prefix: string, at: { token?: string; after?: string; limit?: number }): Promise<t.Page> =>
    this.ask('list_objects', { query: { bucket, prefix, token: at.token, start_after: at.after, limit: at.limit } });

  head = (bucket: string, key: string): Promise<t.Head> => this.ask('head_object', { query: { bucket, key } });

  tags = async (bucket: string, key: string): Promise<Record<string, string>> =>
    (await this.ask('show_tags', { query: { bucket, key } })).tags;

  setTags = (bucket: string, key: string, tags: Record<string, string>) =>
    this.ask('set_tags', { body: { bucket, key, tags } });

  /** The versions of all keys that begin with `prefix`. */
  versions = (bucket: string, prefix: string, after?: t.VersionsPage): Promise<t.VersionsPage> =>
    this.ask('list_versions', { query: { bucket, prefix, cursor: after?.next } });

  /** Make an earlier version the current one. */
  restore = (bucket: string, key: string, version: string) =>
    this.ask('restore_object', { body: { bucket, key, version } });

  count = (selection: t.Selection): Promise<t.Count> => this.ask('count_objects', { body: selection });

  /** Delete up to 1,000 keys now. */
  deleteKeys = (bucket: string, keys: string[]) => this.ask('delete_objects', { body: { bucket, keys } });

  /** A page of the tasks, newest first. */
  tasks = (cursor: string | null = null): Promise<t.TaskPage> => this.ask('list_tasks', { query: { cursor } });

  task = (id: string): Promise<t.Task> => this.ask('show_task', { path: { id } });

  begin = (task: t.NewTask): Promise<t.Task> => this.ask('begin_task', { body: task });

  cancel = (id: string): Promise<t.Task> => this.ask('cancel_task', { path: { id } });

  /** `inline`: for reading by a script, not for saving. */
  downloadUrl = (bucket: string, key: string, inline = false, version = ''): Promise<t.SignedUrl> =>
    this.ask('sign_download', { body: { bucket, key, inline, version } });

  uploadUrl = (upload: Body<'sign_upload'>): Promise<t.SignedUrl> => this.ask('sign_upload', { body: upload });

  beginUpload = (upload: Body<'begin_upload'>): Promise<t.UploadStart> => this.ask('begin_upload', { body: upload });

  partUrls = async (
    of: ObjectKey & { upload_id: string },
    parts: Body<'sign_parts'>['parts']
  ): Promise<t.SignedUrl[]> => (await this.ask('sign_parts', { body: { ...of, parts } })).urls;

  parts = async (bucket: string, key: string, upload_id: string): Promise<t.Part[]> =>
    (await this.ask('list_parts', { query: { bucket, key, upload_id } })).parts;

  complete = (end: Body<'complete_upload'>) => this.ask('complete_upload', { body: end });

  abort = (bucket: string, key: string, upload_id: string) =>
    this.ask('abort_upload', { body: { bucket, key, upload_id } });

  unfinished = (bucket: string, prefix: string, after?: t.UnfinishedPage): Promise<t.UnfinishedPage> =>
    this.ask('list_uploads', { query: { bucket, prefix, cursor: after?.next } });

  shares = (): Promise<t.Share[]> =>
    all(
      cursor => this.ask('list_shares', { query: { cursor } }),
      page => page.shares
    );

  share = (share: t.NewShare): Promise<t.Share> => this.ask('create_share', { body: share });

  endShare = (id: string) => this.ask('end_share', { path: { id } });

  links = (): Promise<t.Link[]> =>
    all(
      cursor => this.ask('list_links', { query: { cursor } }),
      page => page.links
    );

  link = (bucket: string, key: string, expires: string | null): Promise<t.Link> =>
    this.ask('create_link', { body: { bucket, key, expires } });

  endLink = (id: string) => this.ask('end_link', { path: { id } });

  /** The keys of programs that are still good; not the keys themselves. */
  credentials = (): Promise<t.Credential[]> =>
    all(
      cursor => this.ask('list_credentials', { query: { cursor } }),
      page => page.credentials
    );

  endCredential = (id: string) => this.ask('revoke_credentials', { path: { id } });

  /** A page of what was done, newest first. */
  audit = (cursor: string | null): Promise<t.AuditPage> => this.ask('list_audit', { query: { cursor } });

  /** Which key of the store its user entered; '' for none. */
  ownKey = () => this.ask('show_key');

  forgetKey = () => this.ask('forget_key');

  /** Keep a key of the store that its user has, where the site wants that. */
  keepKey = (key: Body<'keep_key'>) => this.ask('keep_key', { body: key });

  private readonly ask;
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
