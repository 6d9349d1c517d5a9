/** What the page and the preview's frame say to each other, and how much is allowed. */

/** The object that is shown; `size` in bytes. */
export interface PreviewObject {
  bucket: string;
  key: string;
  size: number;
  type: string;
  etag: string;
}

/** Bytes of the object, or of a neighbour of it (a chunk of a Zarr array). */
export type Read = (offset: number, length: number) => Promise<ArrayBuffer>;

/** What lies beside the object: needed for Zarr only. */
export interface Neighbours {
  /** All of a small object; null if there is none of this key. */
  get(key: string, most: number): Promise<ArrayBuffer | null>;
  /** A range of an object; a negative offset counts from its end. */
  range(key: string, offset: number, length: number): Promise<ArrayBuffer | null>;
}

export const MIB = 2 ** 20;
/** Longest range that one read may ask for. */
export const LONGEST_READ = 16 * MIB;
/** All that one preview may read. */
export const MOST_BYTES = 96 * MIB;
/** Reads of one preview. */
export const MOST_READS = 2000;

/** The page's first message to the frame; a port comes with it. */
export interface Begin {
  landbridge: 'preview';
  object: PreviewObject;
  dark: boolean;
  neighbours: boolean;
}

/** The frame asks for a range, or for a neighbour as a whole or in part. */
export interface Asked {
  id: number;
  offset: number;
  length: number;
  neighbour?: string;
  isPart?: boolean;
}

/** The page's answer; `bytes` null if there is no such neighbour. */
export interface Answered {
  id: number;
  bytes?: ArrayBuffer | null;
  error?: string;
}
