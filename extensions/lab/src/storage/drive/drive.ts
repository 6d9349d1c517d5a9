import { Contents, ServerConnection } from '@jupyterlab/services';
import { ISignal, Signal } from '@lumino/signaling';

import { Count } from '../types';

import { encoded, file, folder, KindOf, unbase64, withContent } from './models';
import { bare, Facts, Objects, refused } from './objects';
import { freeName, hasPath, mayWrite, nameOf, pathOf, prefixOf, Right, Spot, spotOf, viewOf } from './paths';

export const DRIVE = 'buckets';
const LARGEST_UPLOAD = 256e6;
const EMPTY_NOTEBOOK = { cells: [], metadata: {}, nbformat: 4, nbformat_minor: 5 };

/** Tells a person what a folder does not show. */
export type Tell = (message: string) => void;

/** Asks a person whether all that is counted in a folder shall be deleted. */
export type Sure = (folder: string, holds: Count) => Promise<boolean>;

/**
 * Buckets as a drive of JupyterLab: a folder for each, objects as files.
 *
 * What is saved replaces exactly the content that was opened (or that JupyterLab asked
 * about): the ETag is the hash by which JupyterLab sees that a file was changed
 * meanwhile, and goes with the upload as If-Match, so that nothing can come between.
 * There are no checkpoints, so none lie about. An empty folder exists in this tab only.
 */
export class BucketDrive implements Contents.IDrive {
  constructor(
    private readonly objects: Objects,
    private readonly kindOf: KindOf,
    private readonly tell: Tell,
    private readonly sure: Sure
  ) {}

  readonly name = DRIVE;
  readonly serverSettings = ServerConnection.makeSettings();

  get fileChanged(): ISignal<this, Contents.IChangedArgs> {
    return this._fileChanged;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    this._isDisposed = true;
    Signal.clearData(this);
  }

  async get(path: string, options: Contents.IFetchOptions = {}): Promise<Contents.IModel> {
    const spot = spotOf(path);
    const rights = await this.objects.rights();
    if (spot === null) {
      const names = [...new Set(rights.map(right => right.name))];
      return folder('', options.content === false ? null : names.map(name => folder(name, null)), false);
    }
    if (spot.key === '' || options.type === 'directory' || this.kinds.get(path) === 'directory') {
      return this.folder(rights, spot, options.content !== false);
    }
    return this.file(rights, spot, options);
  }

  async getDownloadUrl(path: string): Promise<string> {
    const { bucket, key } = needed(path);
    return this.objects.downloadUrl(bucket, key);
  }

  async newUntitled(options: Contents.ICreateOptions = {}): Promise<Contents.IModel> {
    const spot = needed(options.path ?? '');
    const { content } = await this.get(pathOf(spot.bucket, spot.key), { type: 'directory', content: true });
    const taken = new Set((content as Contents.IModel[]).map(one => one.name));
    const prefix = prefixOf(spot);
    if (options.type === 'directory') {
      const path = pathOf(spot.bucket, prefix + freeName('Untitled Folder', taken));
      this.empty.add(path);
      this.kinds.set(path, 'directory');
      this.tell('A folder in a bucket lasts once there is something in it.');
      return this.changed('new', null, folder(path, null));
    }
    const isNotebook = options.type === 'notebook';
    const wanted = isNotebook ? 'Untitled.ipynb' : `untitled${options.ext ?? '.txt'}`;
    const path = pathOf(spot.bucket, prefix + freeName(wanted, taken));
    const model = isNotebook ? { type: 'notebook', content: EMPTY_NOTEBOOK } : { type: 'file', content: '' };
    return this.put(path, encoded({ ...model, format: isNotebook ? 'json' : 'text' }), null, 'new');
  }

  async delete(path: string): Promise<void> {
    const { bucket, key } = needed(path);
    if (key === '') {
      throw refused(400, 'Buckets are deleted in the Storage panel.');
    }
    if (this.kinds.get(path) !== 'directory') {
      await this.objects.work({ kind: 'delete', source: { bucket, keys: [key], prefixes: [] } });
    } else if (!this.empty.delete(path)) {
      // JupyterLab has asked about the folder, not knowing how much lies in it.
      if (!(await this.sure(path, await this.objects.count(bucket, `${key}/`)))) {
        return;
      }
      await this.objects.work({ kind: 'delete', source: { bucket, keys: [], prefixes: [`${key}/`] } });
    }
    this.forget(path);
    this._fileChanged.emit({ type: 'delete', oldValue: { path }, newValue: null });
  }

  async rename(path: string, newPath: string): Promise<Contents.IModel> {
    const [from, to] = [needed(path), needed(newPath)];
    const isFolder = await this.isFolder(path, from);
    if (!hasPath(to.key) || from.key === '' || to.key === '') {
      throw refused(400, `An object cannot be named ${to.key} here.`);
    }
    if ((await this.objects.head(to.bucket, to.key)) || (await this.objects.hasAny(to.bucket, `${to.key}/`))) {
      throw refused(409, `There is a ${to.key} already.`);
    }
    if (!this.empty.delete(path)) {
      const key = isFolder ? `${from.key}/` : from.key;
      await this.objects.work({ kind: 'move', ...sourceAndTarget(from.bucket, key, isFolder, to) });
    } else {
      this.empty.add(newPath);
    }
    this.forget(path);
    this.kinds.set(newPath, isFolder ? 'directory' : 'file');
    const model = isFolder ? folder(newPath, null) : await this.get(newPath, { content: false, hash: true });
    return this.changed('rename', { path }, model);
  }

  async save(path: string, options: Partial<Contents.IModel> = {}): Promise<Contents.IModel> {
    const { bucket, key } = needed(path);
    if (options.type === 'directory') {
      this.empty.add(path);
      return this.changed('save', null, folder(path, null));
    }
    const blob = options.chunk === undefined ? encoded(options) : this.chunk(path, options.chunk, options);
    if (blob === null) {
      return file(path, { size: 0, etag: '', modified: new Date().toISOString() }, this.kindOf(path), true);
    }
    // Whoever saves over a file that is not open here was asked by JupyterLab before.
    const etag = this.seen.get(path) ?? (await this.objects.head(bucket, key))?.etag ?? null;
    return this.put(path, blob, etag, 'save');
  }

  async copy(path: string, toDir: string): Promise<Contents.IModel> {
    const [from, into] = [needed(path), needed(toDir)];
    const isFolder = await this.isFolder(path, from);
    const { content } = await this.get(toDir, { type: 'directory', content: true });
    const taken = new Set((content as Contents.IModel[]).map(one => one.name));
    const wanted = nameOf(path);
    const name = taken.has(wanted) ? freeName(wanted, taken, '-Copy') : wanted;
    const to = { bucket: into.bucket, key: prefixOf(into) + name };
    const key = isFolder ? `${from.key}/` : from.key;
    await this.objects.work({ kind: 'copy', ...sourceAndTarget(from.bucket, key, isFolder, to) });
    const target = pathOf(to.bucket, to.key);
    this.kinds.set(target, isFolder ? 'directory' : 'file');
    return this.changed('new', null, await this.get(target, { content: false }));
  }

  /** Nothing is kept: objects beside the user's would litter the bucket. */
  createCheckpoint(): Promise<Contents.ICheckpointModel> {
    return Promise.resolve({ id: 'none', last_modified: new Date().toISOString() });
  }

  listCheckpoints(): Promise<Contents.ICheckpointModel[]> {
    return Promise.resolve([]);
  }

  restoreCheckpoint(): Promise<void> {
    return Promise.reject(refused(400, 'Objects have no checkpoints. A bucket with versions keeps every save.'));
  }

  deleteCheckpoint(): Promise<void> {
    return Promise.resolve();
  }

  private async folder(rights: Right[], spot: Spot, isListed: boolean): Promise<Contents.IModel> {
    const path = pathOf(spot.bucket, spot.key);
    const view = viewOf(rights, spot);
    if (view === null) {
      throw refused(404, `There is no bucket ${spot.bucket}, or it is not yours to see.`);
    }
    const writable = mayWrite(rights, spot.bucket, prefixOf(spot));
    if (!isListed) {
      return folder(path, null, writable);
    }
    if ('folders' in view) {
      return folder(
        path,
        view.folders.map(key => this.entry(spot.bucket, key)),
        false
      );
    }
    const found = await this.objects.list(spot.bucket, view.prefix);
    const folders = found.prefixes.filter(hasPath).map(key => this.entry(spot.bucket, key, writable));
    for (const one of this.empty) {
      if (one.slice(0, one.lastIndexOf('/')) === path && !folders.some(other => other.path === one)) {
        folders.push(folder(one, null));
      }
    }
    const names = new Set(folders.map(one => one.name));
    // A file and a folder of one name have one path: the folder has it.
    const shown = found.objects.filter(({ key }) => hasPath(key) && !key.endsWith('/') && !names.has(nameOf(key)));
    const files = shown.map(({ key, size, etag, modified }) => {
      const place = pathOf(spot.bucket, key);
      this.kinds.set(place, 'file');
      return file(place, { size, etag: bare(etag), modified }, this.kindOf(place), mayWrite(rights, spot.bucket, key));
    });
    const marks = found.objects.filter(({ key }) => key === view.prefix).length;
    const hidden = found.objects.length - marks - shown.length + found.prefixes.filter(key => !hasPath(key)).length;
    this.tellOnce(path, hidden, found.isCut);
    return folder(path, [...folders, ...files], writable);
  }

  private entry(bucket: string, key: string, writable = true): Contents.IModel {
    const path = pathOf(bucket, key);
    this.kinds.set(path, 'directory');
    return folder(path, null, writable);
  }

  private async file(rights: Right[], spot: Spot, options: Contents.IFetchOptions): Promise<Contents.IModel> {
    const { bucket, key } = spot;
    const path = pathOf(bucket, key);
    const writable = mayWrite(rights, bucket, key);
    const kind = this.kindOf(path);
    // JupyterLab asks for the hash right after it has saved. It gets that of what was
    // saved: somebody may have been quick, and would be overwritten the next time.
    const saved = this.saved.get(path);
    this.saved.delete(path);
    if (options.content === false || options.content === undefined) {
      const facts = saved && options.hash ? saved : await this.objects.head(bucket, key);
      if (facts === null) {
        return this.folderOrNothing(rights, spot, false);
      }
      if (options.hash) {
        this.seen.set(path, facts.etag);
      }
      return file(path, facts, kind, writable);
    }
    let found;
    try {
      found = await this.objects.read(bucket, key);
    } catch (error) {
      if (error instanceof ServerConnection.ResponseError && error.response.status === 404 && !options.type) {
        return this.folderOrNothing(rights, spot, true);
      }
      throw error;
    }
    this.seen.set(path, found.etag);
    return withContent(path, found, kind, writable, options);
  }

  private async folderOrNothing(rights: Right[], spot: Spot, isListed: boolean): Promise<Contents.IModel> {
    if (await this.isFolder(pathOf(spot.bucket, spot.key), spot)) {
      return this.folder(rights, spot, isListed);
    }
    throw refused(404, `There is no ${spot.key} in ${spot.bucket}.`);
  }

  private async isFolder(path: string, { bucket, key }: Spot): Promise<boolean> {
    const known = this.kinds.get(path);
    return known ? known === 'directory' : key === '' || (await this.objects.hasAny(bucket, `${key}/`));
  }

  private async put(path: string, blob: Blob, etag: string | null, type: 'new' | 'save'): Promise<Contents.IModel> {
    const { bucket, key } = needed(path);
    if (!hasPath(key)) {
      throw refused(400, `An object cannot be named ${key} here.`);
    }
    const kind = this.kindOf(path);
    const now = await this.objects.write(bucket, key, blob, kind.mimetype, etag);
    const facts: Facts = { size: blob.size, etag: now, modified: new Date().toISOString() };
    this.seen.set(path, now);
    if (type === 'save') {
      this.saved.set(path, facts);
    }
    this.kinds.set(path, 'file');
    this.empty.delete(path.slice(0, path.lastIndexOf('/')));
    return this.changed(type, null, file(path, facts, kind, true));
  }

  /** Keep a piece of an upload; return the whole with the last one (-1), else null. */
  private chunk(path: string, number: number, model: Partial<Contents.IModel>): Blob | null {
    const before = number === 1 ? [] : (this.pieces.get(path) ?? []);
    const piece = model.format === 'base64' ? new Blob([unbase64(String(model.content ?? ''))]) : encoded(model);
    const pieces = [...before, piece];
    if (pieces.reduce((sum, one) => sum + one.size, 0) > LARGEST_UPLOAD) {
      this.pieces.delete(path);
      throw refused(413, 'This file is too large for the file browser. Upload it in the Storage panel.');
    }
    if (number === -1) {
      this.pieces.delete(path);
      return new Blob(pieces);
    }
    this.pieces.set(path, pieces);
    return null;
  }

  private changed(
    type: Contents.IChangedArgs['type'],
    oldValue: Partial<Contents.IModel> | null,
    newValue: Contents.IModel
  ): Contents.IModel {
    this._fileChanged.emit({ type, oldValue, newValue });
    return newValue;
  }

  private forget(path: string): void {
    for (const map of [this.seen, this.saved, this.kinds]) {
      for (const one of map.keys()) {
        if (one === path || one.startsWith(`${path}/`)) {
          map.delete(one);
        }
      }
    }
  }

  private tellOnce(path: string, hidden: number, isCut: boolean): void {
    const words: string[] = [];
    if (hidden) {
      words.push(`${hidden === 1 ? '1 object has a name' : `${hidden} objects have names`} that no file can have.`);
    }
    if (isCut) {
      words.push('Only the first objects are listed.');
    }
    if (words.length && !this.toldOf.has(path)) {
      this.toldOf.add(path);
      this.tell(`${path}: ${words.join(' ')} See all in the Storage panel.`);
    }
  }

  /** ETag of the content that is open or was asked about, by path. */
  private readonly seen = new Map<string, string>();
  /** What was just saved, until JupyterLab asks for its hash. */
  private readonly saved = new Map<string, Facts>();
  private readonly kinds = new Map<string, 'file' | 'directory'>();
  private readonly empty = new Set<string>();
  private readonly pieces = new Map<string, Blob[]>();
  private readonly toldOf = new Set<string>();
  private _isDisposed = false;
  private _fileChanged = new Signal<this, Contents.IChangedArgs>(this);
}

function needed(path: string): Spot {
  const spot = spotOf(path);
  if (spot === null) {
    throw refused(400, 'Buckets are made in the Storage panel.');
  }
  return spot;
}

function sourceAndTarget(bucket: string, key: string, isFolder: boolean, to: Spot) {
  const slash = to.key.lastIndexOf('/') + 1;
  return {
    source: { bucket, keys: isFolder ? [] : [key], prefixes: isFolder ? [key] : [] },
    bucket: to.bucket,
    prefix: to.key.slice(0, slash),
    name: to.key.slice(slash)
  };
}
