import { decompressLz4Raw, decompressSnappy, decompressZstd } from 'hyparquet-compressors';

import { bytes, Unreadable } from '../sheet';

/** What a chunk may be when it is unpacked, in bytes. */
export const LARGEST_UNPACKED = 32 * 2 ** 20;

type Bytes = Uint8Array<ArrayBuffer>;

// The codecs of Zarr, each told beforehand how much may come out.

/** Unpack gzip or zlib, up to the limit. */
export async function inflate(format: 'gzip' | 'deflate', data: Bytes): Promise<Bytes> {
  const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream(format));
  const reader = stream.getReader();
  const pieces: BlobPart[] = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      return new Uint8Array(await new Blob(pieces).arrayBuffer());
    }
    pieces.push(value);
    size += value.length;
    if (size > LARGEST_UNPACKED) {
      await reader.cancel();
      allowed(size);
    }
  }
}

/** Unpack a Zstandard frame that states its size (RFC 8878, 3.1.1.1), as Zarr's do. */
export function zstd(data: Bytes): Bytes {
  const view = viewOf(data, 6);
  const flags = view.getUint8(4);
  const isSingle = (flags & 0x20) !== 0;
  const at = 5 + (isSingle ? 0 : 1) + [0, 1, 2, 4][flags & 3];
  const kind = flags >> 6;
  const read = [
    () => (isSingle ? view.getUint8(at) : NaN),
    () => view.getUint16(at, true) + 256,
    () => view.getUint32(at, true),
    () => Number(view.getBigUint64(at, true))
  ];
  if (view.getUint32(0, true) !== 0xfd2fb528) {
    throw new Unreadable('A chunk of this array is damaged.');
  }
  const size = allowed(read[kind]());
  return decompressZstd(data, new Uint8Array(size)) as Bytes;
}

/** Unpack LZ4 as numcodecs writes it: the size in 4 bytes, then a block. */
export function lz4(data: Bytes): Bytes {
  const size = allowed(viewOf(data, 4).getUint32(0, true));
  return decompressLz4Raw(data.subarray(4), size) as Bytes;
}

/** Unpack a chunk of Blosc 1 (c-blosc, README_CHUNK_FORMAT). */
export async function blosc(data: Bytes): Promise<Bytes> {
  const view = viewOf(data, 16);
  const flags = view.getUint8(2);
  const itemSize = view.getUint8(3);
  const size = allowed(view.getUint32(4, true));
  const blockSize = view.getUint32(8, true);
  if (flags & 2) {
    return data.slice(16, 16 + size);
  }
  if (!(blockSize > 0) || !(itemSize > 0) || blockSize > LARGEST_UNPACKED) {
    throw new Unreadable('A chunk of this array is damaged.');
  }
  const out = new Uint8Array(size);
  for (let block = 0; block * blockSize < size; block += 1) {
    const length = Math.min(blockSize, size - block * blockSize);
    const isShort = length < blockSize;
    const isSplit = !(flags & 0x10) && !isShort && itemSize <= 16 && blockSize / itemSize >= 128;
    const parts = isSplit ? itemSize : 1;
    const flat = await streams(data, view.getUint32(16 + 4 * block, true), length, parts, flags >> 5);
    const items =
      itemSize > 1 && flags & 1 ? unshuffled(flat, itemSize) : flags & 4 ? unbitshuffled(flat, itemSize) : flat;
    out.set(items, block * blockSize);
  }
  return out;
}

async function streams(data: Bytes, start: number, length: number, parts: number, codec: number): Promise<Bytes> {
  const out = new Uint8Array(length);
  const each = length / parts;
  let at = start;
  for (let part = 0; part < parts; part += 1) {
    const packed = new DataView(data.buffer, data.byteOffset + at, 4).getInt32(0, true);
    const piece = data.subarray(at + 4, at + 4 + packed);
    if (packed < 0 || piece.length < packed) {
      throw new Unreadable('A chunk of this array is cut off or damaged.');
    }
    out.set(packed === each ? piece : await unpacked(piece, each, codec), part * each);
    at += 4 + packed;
  }
  return out;
}

async function unpacked(piece: Bytes, size: number, codec: number): Promise<Uint8Array> {
  switch (codec) {
    case 1:
      return decompressLz4Raw(piece, size);
    case 2:
      return decompressSnappy(piece, size);
    case 3:
      return inflate('deflate', piece);
    case 4:
      return decompressZstd(piece, new Uint8Array(size));
    default:
      throw new Unreadable('This array is packed with BloscLZ, which the preview does not know.');
  }
}

/** Put the bytes of each item together again. */
function unshuffled(data: Bytes, itemSize: number): Bytes {
  const out = new Uint8Array(data.length);
  const count = Math.floor(data.length / itemSize);
  for (let byte = 0; byte < itemSize; byte += 1) {
    for (let item = 0; item < count; item += 1) {
      out[item * itemSize + byte] = data[byte * count + item];
    }
  }
  out.set(data.subarray(count * itemSize), count * itemSize);
  return out;
}

/** The same for bits, of as many items as make whole bytes. */
function unbitshuffled(data: Bytes, itemSize: number): Bytes {
  const out = new Uint8Array(data.length);
  const count = Math.floor(data.length / itemSize / 8) * 8;
  const row = count / 8;
  for (let bit = 0; bit < itemSize * 8; bit += 1) {
    for (let item = 0; item < count; item += 1) {
      const value = (data[bit * row + (item >> 3)] >> (item & 7)) & 1;
      out[item * itemSize + (bit >> 3)] |= value << (bit & 7);
    }
  }
  out.set(data.subarray(count * itemSize), count * itemSize);
  return out;
}

function viewOf(data: Bytes, least: number): DataView {
  if (data.length < least) {
    throw new Unreadable('A chunk of this array is cut off.');
  }
  return new DataView(data.buffer, data.byteOffset, data.length);
}

function allowed(size: number): number {
  if (!(size <= LARGEST_UNPACKED)) {
    throw new Unreadable(
      `A chunk of this array unpacks to more than ${bytes(LARGEST_UNPACKED)}, or does not say to how much.`
    );
  }
  return size;
}
