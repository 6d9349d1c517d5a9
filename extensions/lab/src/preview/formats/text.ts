import { Format } from '../format';
import { bytes, Sheet, Unreadable } from '../sheet';
import { Source } from '../source';

const MOST = 256 * 1024;

/** Plain text in UTF-8, from its beginning. HTML too: its source, never the page. */
export const text: Format = {
  async read(source: Source): Promise<Sheet> {
    const start = await source.start(MOST);
    const left = start.length < source.size ? [`Only the first ${bytes(start.length)} are shown.`] : [];
    return {
      format: 'Text',
      facts: [['Size', bytes(source.size)]],
      parts: [{ kind: 'text', title: 'Text', text: decode(start) }],
      left
    };
  }
};

/** Return bytes as text; what is no UTF-8 shows as a mark. A cut character is dropped. */
export function decode(data: Uint8Array): string {
  return new TextDecoder('utf-8').decode(data, { stream: true });
}

/** Any bytes, in hexadecimal. */
export const hex: Format = {
  async read(source: Source): Promise<Sheet> {
    if (source.size === 0) {
      return { format: 'Empty object', facts: [['Size', '0 bytes']], parts: [], left: [] };
    }
    const start = await source.start(1024);
    return {
      format: 'Bytes of an unknown kind',
      facts: [['Size', bytes(source.size)]],
      parts: [{ kind: 'text', title: 'First bytes', text: dump(start) }],
      left: start.length < source.size ? [`Only the first ${bytes(start.length)} are shown.`] : []
    };
  }
};

function dump(data: Uint8Array): string {
  const lines: string[] = [];
  for (let offset = 0; offset < data.length; offset += 16) {
    const row = [...data.subarray(offset, offset + 16)];
    const codes = row.map(byte => byte.toString(16).padStart(2, '0')).join(' ');
    const plain = row.map(byte => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`${offset.toString(16).padStart(8, '0')}  ${codes.padEnd(47)}  ${plain}`);
  }
  return lines.join('\n');
}

/** Return an object's whole content, if it is small enough to be understood at once. */
export async function whole(source: Source, most: number, what: string): Promise<Uint8Array<ArrayBuffer>> {
  if (source.size > most) {
    throw new Unreadable(`${what} of more than ${bytes(most)} are not shown; this one has ${bytes(source.size)}.`);
  }
  return source.read(0, source.size);
}
