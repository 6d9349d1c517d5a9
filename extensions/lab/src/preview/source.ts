import { LONGEST_READ, PreviewObject } from './protocol';
import { Unreadable } from './sheet';

/** Bytes as the frame gets them from the page; null: there is no such neighbour. */
export type Fetch = (
  offset: number,
  length: number,
  neighbour?: string,
  isPart?: boolean
) => Promise<ArrayBuffer | null>;

/** An object as formats read it: by ranges, never more than a range may hold. */
export class Source {
  constructor(
    readonly object: PreviewObject,
    readonly head: Uint8Array<ArrayBuffer>,
    readonly hasNeighbours: boolean,
    private readonly fetch: Fetch
  ) {}

  get size(): number {
    return this.object.size;
  }

  /** Return exactly these bytes; rejects with `Unreadable` if they are not there. */
  async read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0) {
      throw new Unreadable('This file points at a place that cannot be. It is damaged, or is no such file.');
    }
    if (offset + length > this.size) {
      throw new Unreadable('This file ends before its content does: it is cut off, or is no such file.');
    }
    if (length > LONGEST_READ) {
      throw new Unreadable('A part of this file is too large for a preview.');
    }
    if (offset + length <= this.head.length) {
      return this.head.subarray(offset, offset + length);
    }
    const found = await this.fetch(offset, length);
    if (found === null || found.byteLength < length) {
      throw new Unreadable('The store sent less of this object than it said it has.');
    }
    return new Uint8Array(found, 0, length);
  }

  /** Return the beginning, at most `most` bytes. */
  start(most: number): Promise<Uint8Array<ArrayBuffer>> {
    return this.read(0, Math.min(this.size, most));
  }

  /** Return all of another object, at most `most` bytes; null if there is none. */
  async neighbour(key: string, most: number): Promise<Uint8Array<ArrayBuffer> | null> {
    const found = await this.fetch(0, Math.min(most, LONGEST_READ), key);
    return found && new Uint8Array(found);
  }

  /** Return a range of another object; a negative offset counts from its end. */
  async neighbourRange(key: string, offset: number, length: number): Promise<Uint8Array<ArrayBuffer> | null> {
    if (!(length > 0 && length <= LONGEST_READ)) {
      throw new Unreadable('A part of this array is too large for a preview.');
    }
    const found = await this.fetch(offset, length, key, true);
    return found && new Uint8Array(found);
  }
}

/** Return the file name's ending in lower case, without its dot. */
export function ending(key: string): string {
  const name = key.slice(key.lastIndexOf('/') + 1).toLowerCase();
  return name.includes('.') ? name.slice(name.lastIndexOf('.') + 1) : '';
}
