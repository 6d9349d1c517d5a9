import { Contents } from '@jupyterlab/services';

import { Content, Facts, refused } from './objects';
import { nameOf } from './paths';

/** How JupyterLab wants the content of a file to be. */
export interface Kind {
  type: string;
  format: Contents.FileFormat;
  mimetype: string;
}

/** Says what a file is by its path: JupyterLab's document registry knows. */
export type KindOf = (path: string) => Kind;

const EPOCH = new Date(0).toISOString();
export const HASH = 'etag';

/** Return a folder's model; without `content` it was not listed. */
export function folder(path: string, content: Contents.IModel[] | null, writable = true): Contents.IModel {
  return {
    name: nameOf(path),
    path,
    type: 'directory',
    writable,
    created: EPOCH,
    last_modified: EPOCH,
    mimetype: '',
    content,
    format: content === null ? null : 'json'
  };
}

/** Return a file's model without its content. */
export function file(path: string, facts: Facts, kind: Kind, writable: boolean): Contents.IModel {
  return {
    name: nameOf(path),
    path,
    type: kind.type,
    writable,
    created: facts.modified,
    last_modified: facts.modified,
    mimetype: '',
    content: null,
    format: null,
    size: facts.size,
    hash: facts.etag,
    hash_algorithm: HASH
  };
}

/** Return a file's model with its content, in the format that was asked for. */
export async function withContent(
  path: string,
  found: Content,
  kind: Kind,
  writable: boolean,
  wanted: Contents.IFetchOptions
): Promise<Contents.IModel> {
  const facts = { size: found.blob.size, etag: found.etag, modified: found.modified };
  const type = wanted.type === 'notebook' || wanted.type === 'file' ? wanted.type : kind.type;
  const format = type === 'notebook' ? 'json' : (wanted.format ?? (kind.format === 'json' ? 'text' : kind.format));
  const data = new Uint8Array(await found.blob.arrayBuffer());
  const { content, format: given } = decoded(data, format, type, wanted.format !== undefined && wanted.format !== null);
  return { ...file(path, facts, { ...kind, type }, writable), mimetype: kind.mimetype, content, format: given };
}

function decoded(
  data: Uint8Array<ArrayBuffer>,
  format: Contents.FileFormat,
  type: string,
  isDemanded: boolean
): { content: unknown; format: Contents.FileFormat } {
  if (format === 'base64') {
    return { content: base64(data), format };
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    if (isDemanded || type === 'notebook') {
      throw refused(400, 'This object is no text in UTF-8.');
    }
    return { content: base64(data), format: 'base64' };
  }
  if (type !== 'notebook') {
    return { content: text, format: 'text' };
  }
  try {
    return { content: JSON.parse(text) as unknown, format: 'json' };
  } catch {
    throw refused(400, 'This object is no notebook: it is not JSON.');
  }
}

/** Return what JupyterLab wants to save, as bytes. */
export function encoded(model: Partial<Contents.IModel>): Blob {
  const { content, format, type } = model;
  if (type === 'notebook' || format === 'json') {
    // As Jupyter's own server writes notebooks, so that a diff shows what was changed.
    return new Blob([`${JSON.stringify(content ?? null, inOrder, 1)}\n`]);
  }
  if (format === 'base64') {
    return new Blob([unbase64(String(content ?? ''))]);
  }
  return new Blob([String(content ?? '')]);
}

/** Have JSON write the fields of an object in alphabetical order. */
function inOrder(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return value;
  }
  return Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)));
}

const STEP = 0x8000;

function base64(data: Uint8Array): string {
  let text = '';
  for (let at = 0; at < data.length; at += STEP) {
    text += String.fromCharCode(...data.subarray(at, at + STEP));
  }
  return btoa(text);
}

/** Return the bytes of a text in base64. */
export function unbase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), char => char.charCodeAt(0));
}
