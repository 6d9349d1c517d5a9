import { Format } from '../format';
import { bytes, Fact, Sheet, Unreadable } from '../sheet';
import { ending, Source } from '../source';

import { decode, whole } from './text';

const MOST = 12 * 2 ** 20;
const MOST_SVG = 2 ** 20;
const MOST_PIXELS = 50_000_000;

/** Pictures that a browser draws; a claim of too many pixels is not put to the test. */
export const image: Format = {
  async read(source: Source): Promise<Sheet> {
    const facts: Fact[] = [['Size', bytes(source.size)]];
    if (ending(source.object.key) === 'svg') {
      const svg = decode(await whole(source, MOST_SVG, 'SVG drawings'));
      return { format: 'SVG drawing', facts, parts: [{ kind: 'drawing', title: 'Drawing', svg }], left: [] };
    }
    const data = await whole(source, MOST, 'Pictures');
    const found = measure(data);
    if (found === null) {
      throw new Unreadable('This is no picture that can be shown, or it is damaged.');
    }
    const { type, width, height } = found;
    if (width * height > MOST_PIXELS) {
      throw new Unreadable(
        `This picture claims to have ${width} × ${height} pixels. A preview shows up to ${MOST_PIXELS / 1e6} million.`
      );
    }
    facts.push(['Kind', type.replace('image/', '').toUpperCase()], ['Pixels', `${width} × ${height}`]);
    return {
      format: 'Picture',
      facts,
      parts: [{ kind: 'picture', title: source.object.key, bytes: data, type }],
      left: []
    };
  }
};

interface Measured {
  type: string;
  width: number;
  height: number;
}

/** Read a picture's kind and size off its first bytes; null if it is none of ours. */
export function measure(data: Uint8Array<ArrayBuffer>): Measured | null {
  if (data.length < 30) {
    return null;
  }
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const word = (offset: number, length: number) => String.fromCharCode(...data.subarray(offset, offset + length));
  if (word(1, 3) === 'PNG') {
    return { type: 'image/png', width: view.getUint32(16), height: view.getUint32(20) };
  }
  if (word(0, 4) === 'GIF8') {
    return { type: 'image/gif', width: view.getUint16(6, true), height: view.getUint16(8, true) };
  }
  if (word(0, 2) === 'BM') {
    return { type: 'image/bmp', width: view.getInt32(18, true), height: Math.abs(view.getInt32(22, true)) };
  }
  if (word(0, 4) === 'RIFF' && word(8, 4) === 'WEBP') {
    return webp(view, word(12, 4));
  }
  if (word(4, 8) === 'ftypavif') {
    return avif(view, data);
  }
  return data[0] === 0xff && data[1] === 0xd8 ? jpeg(view) : null;
}

/** Walk a JPEG's segments to its frame header (ITU T.81, B.1.1.3). */
function jpeg(view: DataView): Measured | null {
  let offset = 2;
  while (offset + 9 < view.byteLength && view.getUint8(offset) === 0xff) {
    const marker = view.getUint8(offset + 1);
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return { type: 'image/jpeg', width: view.getUint16(offset + 7), height: view.getUint16(offset + 5) };
    }
    offset += marker === 0xff ? 1 : 2 + view.getUint16(offset + 2);
  }
  return null;
}

/** Read the first chunk of a WebP (RFC 9649, 2.5 to 2.7). */
function webp(view: DataView, chunk: string): Measured | null {
  const type = 'image/webp';
  const u24 = (offset: number) => view.getUint16(offset, true) + (view.getUint8(offset + 2) << 16);
  if (chunk === 'VP8X') {
    return { type, width: u24(24) + 1, height: u24(27) + 1 };
  }
  if (chunk === 'VP8L') {
    const packed = view.getUint32(21, true);
    return { type, width: (packed & 0x3fff) + 1, height: ((packed >>> 14) & 0x3fff) + 1 };
  }
  return { type, width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
}

/** Take the largest of the sizes (`ispe`) that an AVIF states. */
function avif(view: DataView, data: Uint8Array): Measured | null {
  let best: Measured | null = null;
  const end = Math.min(data.length - 20, 65_536);
  for (let offset = 0; offset < end; offset += 1) {
    if (view.getUint32(offset) === 0x69737065) {
      const [width, height] = [view.getUint32(offset + 8), view.getUint32(offset + 12)];
      if (best === null || width * height > best.width * best.height) {
        best = { type: 'image/avif', width, height };
      }
    }
  }
  return best;
}
