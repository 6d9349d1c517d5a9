/** The upload queue in the browser's own database: what a reload must not lose. */

/** An upload in parts that was begun. */
export interface Upload {
  id: string;
  partSize: number;
  parts: number;
  /** Its parts were there, and its end was asked for. */
  ending?: true;
}

/** One file on its way, as it is kept. No right is in it: those come by session. */
export interface Kept {
  id: string;
  user: string;
  bucket: string;
  key: string;
  /** As the person knows the file: its name, with its folder. */
  name: string;
  size: number;
  modified: number;
  /** Checksum of its first and last bytes, to know the file again. */
  mark: string;
  type: string;
  overwrite: boolean;
  added: number;
  upload?: Upload;
  handle?: FileSystemFileHandle;
}

const NAME = 'landbridge-storage';
const STORE = 'uploads';

function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((done, failed) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error ?? new Error('The browser keeps nothing.'));
  });
}

/** Keeps the queue; where the browser keeps nothing, a reload ends it. */
export class Keeper {
  async all(user: string): Promise<Kept[]> {
    const store = await this.store('readonly');
    const found: Kept[] = store ? await answer(store.getAll()) : [];
    return found.filter(one => one.user === user).sort((a, b) => a.added - b.added);
  }

  async put(items: Kept[]): Promise<void> {
    const store = await this.store('readwrite');
    if (store) {
      // A full disk, or a handle that cannot be kept, must not stop the upload itself.
      await Promise.all(items.map(item => this.putOne(store, item))).catch(() => undefined);
    }
  }

  async drop(ids: string[]): Promise<void> {
    const store = await this.store('readwrite');
    if (store) {
      await Promise.all(ids.map(id => answer(store.delete(id))));
    }
  }

  private async putOne(store: IDBObjectStore, item: Kept): Promise<void> {
    await answer(store.put(item));
  }

  private async store(mode: IDBTransactionMode): Promise<IDBObjectStore | null> {
    this.open ??= this.connect();
    const database = await this.open;
    return database?.transaction(STORE, mode).objectStore(STORE) ?? null;
  }

  private connect(): Promise<IDBDatabase | null> {
    return new Promise(done => {
      try {
        const request = indexedDB.open(NAME, 1);
        request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: 'id' });
        request.onsuccess = () => done(request.result);
        request.onerror = () => done(null);
      } catch {
        done(null); // private windows of some browsers
      }
    });
  }

  private open: Promise<IDBDatabase | null> | null = null;
}
