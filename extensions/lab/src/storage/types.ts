/** What the storage service sends and takes; its OpenAPI document is the truth. */

export interface Me {
  user: string;
  groups: string[];
  scopes: string[];
  bucket: string;
  path: string;
  /** Where the service's own pages are, if it has a host of its own; else ''. */
  pages?: string;
  public_links: boolean;
  credentials: 'sts' | 'web-identity' | 'keys' | 'pasted' | 'none';
  /** Bytes that all of one's own buckets may hold, and what they do hold. */
  quota: number | null;
  used: number;
  may_create: boolean;
}

export interface Usage {
  bytes: number;
  objects: number;
  measured: string;
  complete: boolean;
}

export interface Bucket {
  name: string;
  prefix: string;
  mode: 'read' | 'read-write';
  why: 'own' | 'group' | 'site' | 'share' | 'key';
  owner: string;
  share: string;
  expires: string | null;
  quota: number | null;
  usage: Usage | null;
}

export interface Entry {
  key: string;
  size: number;
  modified: string;
  etag: string;
  storage_class: string;
}

export interface Page {
  objects: Entry[];
  prefixes: string[];
  token: string | null;
}

export interface Head {
  key: string;
  size: number;
  modified: string | null;
  etag: string;
  content_type: string;
  content_encoding: string;
  metadata: Record<string, string>;
  checksums: Record<string, string>;
  version: string | null;
  storage_class: string;
}

export interface Version {
  key: string;
  version: string;
  latest: boolean;
  modified: string;
  size: number;
  etag: string;
  deleted: boolean;
}

export interface VersionsPage {
  versions: Version[];
  key_marker: string | null;
  version_marker: string | null;
}

export interface Count {
  objects: number;
  bytes: number;
  complete: boolean;
}

/** Some keys, or all under some prefixes, of one bucket. */
export interface Selection {
  bucket: string;
  keys: string[];
  prefixes: string[];
}

export type TaskKind = 'copy' | 'move' | 'delete';

export interface NewTask {
  kind: TaskKind;
  source: Selection;
  bucket?: string;
  prefix?: string;
  name?: string;
  overwrite?: boolean;
}

export interface Task {
  id: string;
  kind: string;
  phase: 'waiting' | 'running' | 'done' | 'failed' | 'cancelled';
  facts: Record<string, unknown>;
  created: string;
  updated: string;
  done: number;
  total: number | null;
  bytes_done: number;
  failed: number;
  failures: { key?: string; message?: string }[];
  cancel_wanted: boolean;
  message: string;
}

/** A URL that lets its bearer do one thing until it expires. */
export interface SignedUrl {
  method: string;
  url: string;
  headers: Record<string, string>;
  expires: string;
}

export interface UploadStart {
  upload_id: string;
  part_size: number;
  parts: number;
}

export interface Part {
  number: number;
  etag: string;
  size: number;
}

export interface Unfinished {
  key: string;
  upload_id: string;
  started: string | null;
}

export interface UnfinishedPage {
  uploads: Unfinished[];
  key_marker: string | null;
  upload_marker: string | null;
}

export interface Share {
  id: string;
  bucket: string;
  prefix: string;
  mode: 'read' | 'read-write';
  kind: 'user' | 'group';
  name: string;
  created: string;
  expires: string;
}

export interface NewShare {
  bucket: string;
  prefix: string;
  mode: 'read' | 'read-write';
  kind: 'user' | 'group';
  name: string;
  expires: string | null;
}

export interface Link {
  id: string;
  bucket: string;
  key: string;
  url: string | null;
  created: string;
  expires: string;
  uses: number;
  last_used: string | null;
}

export interface Grant {
  bucket: string;
  prefix: string;
  mode: 'read' | 'read-write';
}

/** Keys that were given to a program, without the keys. */
export interface Credential {
  id: string;
  purpose: string;
  grants: Grant[];
  created: string;
  expires: string | null;
}

/** One thing that somebody did; `detail` is JSON. */
export interface AuditEntry {
  id: number;
  at: string;
  actor: string;
  action: string;
  bucket: string;
  detail: string;
}
