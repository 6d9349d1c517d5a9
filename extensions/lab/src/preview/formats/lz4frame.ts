import { Unreadable } from '../sheet';

const MAGIC = 0x184d2204;
const LEAST_MATCH = 4;

/**
 * Unpack LZ4 frames (lz4_Frame_format.md and lz4_Block_format.md of the lz4 project).
 *
 * Blocks may refer to those before them, so all are unpacked into one growing space
 * of at most `most` bytes.
 */
export function lz4Frame(data: Uint8Array, most: number): Uint8Array<ArrayBuffer> {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const out = new Space(most);
  if (data.length < 7 || view.getUint32(0, true) !== MAGIC) {
    throw damaged();
  }
  const flags = view.getUint8(4);
  let at = 7 + (flags & 8 ? 8 : 0) + (flags & 1 ? 4 : 0);
  for (;;) {
    if (at + 4 > data.length) {
      throw damaged();
    }
    const size = view.getUint32(at, true);
    at += 4;
    if (size === 0) {
      return out.taken();
    }
    const length = size & 0x7fffffff;
    if (at + length > data.length) {
      throw damaged();
    }
    const block = data.subarray(at, at + length);
    if (size >>> 31) {
      out.put(block);
    } else {
      unpackBlock(block, out);
    }
    at += length + (flags & 16 ? 4 : 0);
  }
}

function unpackBlock(block: Uint8Array, out: Space): void {
  let at = 0;
  const more = (start: number): number => {
    let length = start;
    if (start === 15) {
      let byte = 255;
      while (byte === 255) {
        byte = block[at];
        at += 1;
        length += byte;
      }
    }
    return length;
  };
  while (at < block.length) {
    const token = block[at];
    at += 1;
    const literals = more(token >> 4);
    if (!(at + literals <= block.length)) {
      throw damaged();
    }
    out.put(block.subarray(at, at + literals));
    at += literals;
    if (at >= block.length) {
      return; // the last sequence has literals only
    }
    const distance = block[at] | (block[at + 1] << 8);
    at += 2;
    out.repeat(distance, more(token & 15) + LEAST_MATCH);
  }
}

/** Bytes that were unpacked, and room for more up to a limit. */
class Space {
  constructor(readonly most: number) {}

  put(bytes: Uint8Array): void {
    this.room(bytes.length);
    this.data.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Copy what was unpacked `distance` bytes ago; it may overlap with itself. */
  repeat(distance: number, count: number): void {
    if (!(distance > 0) || distance > this.length) {
      throw damaged();
    }
    this.room(count);
    const start = this.length - distance;
    for (let index = 0; index < count; index += 1) {
      this.data[this.length + index] = this.data[start + index];
    }
    this.length += count;
  }

  taken(): Uint8Array<ArrayBuffer> {
    return this.data.slice(0, this.length);
  }

  private room(count: number): void {
    const wanted = this.length + count;
    if (!(wanted <= this.most)) {
      throw new Unreadable('a part of it unpacks to too much for a preview');
    }
    if (wanted > this.data.length) {
      const larger = new Uint8Array(Math.min(this.most, Math.max(wanted, 2 * this.data.length)));
      larger.set(this.data.subarray(0, this.length));
      this.data = larger;
    }
  }

  private data = new Uint8Array(64 * 1024);
  private length = 0;
}

function damaged(): Unreadable {
  return new Unreadable('a packed part of it is damaged or cut off');
}
