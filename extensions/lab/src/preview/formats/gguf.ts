import { Format } from '../format';
import { bytes, cut, Fact, Node, Sheet, Unreadable } from '../sheet';
import { Source } from '../source';

const MOST = 24 * 2 ** 20;
const PIECE = 2 ** 20;
const MOST_TENSORS = 2000;
const LONGEST_TEXT = 2 ** 20;
const MOST_DIMENSIONS = 8;
/** Bytes of the value types of GGUF that have a fixed size; 8 is text, 9 a list. */
const SIZES: Record<number, number> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };
const TYPES: Record<number, string> = {
  0: 'F32',
  1: 'F16',
  2: 'Q4_0',
  3: 'Q4_1',
  6: 'Q5_0',
  7: 'Q5_1',
  8: 'Q8_0',
  9: 'Q8_1',
  10: 'Q2_K',
  11: 'Q3_K',
  12: 'Q4_K',
  13: 'Q5_K',
  14: 'Q6_K',
  15: 'Q8_K',
  16: 'IQ2_XXS',
  17: 'IQ2_XS',
  18: 'IQ3_XXS',
  19: 'IQ1_S',
  20: 'IQ4_NL',
  21: 'IQ3_S',
  22: 'IQ2_S',
  23: 'IQ4_XS',
  24: 'I8',
  25: 'I16',
  26: 'I32',
  27: 'I64',
  28: 'F64',
  29: 'IQ1_M',
  30: 'BF16'
};

/** The header of a GGUF model (versions 2 and 3, docs/gguf.md of ggml). */
export const gguf: Format = {
  async read(source: Source): Promise<Sheet> {
    const cursor = new Cursor(source, 4);
    const version = await cursor.number(4);
    if (version < 2 || version > 3) {
      throw new Unreadable(`This is GGUF of version ${version}; versions 2 and 3 can be shown.`);
    }
    const tensors = await cursor.count('tensors');
    const values = await cursor.count('values');
    const metadata: string[][] = [];
    for (let index = 0; index < values; index += 1) {
      const name = await cursor.text();
      metadata.push([cut(name), cut(await value(cursor, await cursor.number(4)))]);
    }
    const nodes: Node[] = [];
    while (nodes.length < Math.min(tensors, MOST_TENSORS)) {
      nodes.push(await tensor(cursor));
    }
    const facts: Fact[] = [
      ['Size', bytes(source.size)],
      ['Version', String(version)],
      ['Tensors', tensors.toLocaleString('en-US')]
    ];
    const left = ['The tensors themselves are not read.'];
    if (nodes.length < tensors) {
      left.push(`Only the first ${MOST_TENSORS} tensors are listed.`);
    }
    return {
      format: 'GGUF model',
      facts,
      parts: [
        { kind: 'table', title: 'Metadata', columns: [{ name: 'name' }, { name: 'value' }], rows: metadata },
        { kind: 'tree', title: 'Tensors', nodes }
      ],
      left
    };
  }
};

async function tensor(cursor: Cursor): Promise<Node> {
  const name = await cursor.text();
  const dimensions = await cursor.number(4);
  if (dimensions > MOST_DIMENSIONS) {
    throw new Unreadable(`A tensor claims ${dimensions} dimensions: this file is damaged.`);
  }
  const shape: bigint[] = [];
  while (shape.length < dimensions) {
    shape.push(await cursor.long());
  }
  const type = await cursor.number(4);
  await cursor.long();
  return { name: cut(name), detail: `${TYPES[type] ?? `type ${type}`} ${shape.join(' × ')}` };
}

async function value(cursor: Cursor, type: number): Promise<string> {
  if (type === 8) {
    return cursor.text();
  }
  if (type !== 9) {
    return scalar(cursor, type);
  }
  const inner = await cursor.number(4);
  const length = await cursor.count('values of a list');
  const shown: string[] = [];
  const size = SIZES[inner];
  for (let index = 0; index < length; index += 1) {
    if (index >= 10 && size !== undefined) {
      cursor.skip(size * (length - index));
      break;
    }
    const found = await value(cursor, inner);
    if (index < 10) {
      shown.push(found);
    }
  }
  return `[${shown.join(', ')}${length > 10 ? `, … ${length.toLocaleString('en-US')} in all` : ''}]`;
}

async function scalar(cursor: Cursor, type: number): Promise<string> {
  const size = SIZES[type];
  if (size === undefined) {
    throw new Unreadable(`A value has the unknown type ${type}: this file is damaged.`);
  }
  const view = await cursor.view(size);
  switch (type) {
    case 1:
      return String(view.getInt8(0));
    case 3:
      return String(view.getInt16(0, true));
    case 5:
      return String(view.getInt32(0, true));
    case 6:
      return String(Number(view.getFloat32(0, true).toPrecision(7)));
    case 7:
      return view.getUint8(0) ? 'true' : 'false';
    case 10:
      return String(view.getBigUint64(0, true));
    case 11:
      return String(view.getBigInt64(0, true));
    case 12:
      return String(view.getFloat64(0, true));
    default:
      return String(size === 1 ? view.getUint8(0) : size === 2 ? view.getUint16(0, true) : view.getUint32(0, true));
  }
}

/** A place in the file that moves on; the header is read in pieces, up to a limit. */
class Cursor {
  constructor(
    readonly source: Source,
    private offset: number
  ) {}

  async view(length: number): Promise<DataView> {
    const data = await this.take(length);
    return new DataView(data.buffer, data.byteOffset, data.length);
  }

  async number(size: 4): Promise<number> {
    return (await this.view(size)).getUint32(0, true);
  }

  async long(): Promise<bigint> {
    return (await this.view(8)).getBigUint64(0, true);
  }

  /** Return a number of things, of which each has a byte at least. */
  async count(what: string): Promise<number> {
    const found = await this.long();
    if (found > BigInt(this.source.size)) {
      throw new Unreadable(`It claims ${found.toLocaleString('en-US')} ${what}, more than the file can hold.`);
    }
    return Number(found);
  }

  async text(): Promise<string> {
    const length = await this.count('bytes of a text');
    if (length > LONGEST_TEXT) {
      throw new Unreadable('A text in its header is too long for a preview.');
    }
    return new TextDecoder().decode(await this.take(length));
  }

  skip(length: number): void {
    this.offset += length;
  }

  private async take(length: number): Promise<Uint8Array<ArrayBuffer>> {
    if (this.offset + length > MOST) {
      throw new Unreadable(`Its header has more than ${bytes(MOST)}, which a preview does not read.`);
    }
    const start = this.offset - this.from;
    if (start < 0 || start + length > this.piece.length) {
      this.from = this.offset;
      const wanted = Math.max(length, Math.min(PIECE, this.source.size - this.offset));
      this.piece = await this.source.read(this.offset, wanted);
    }
    const found = this.piece.subarray(this.offset - this.from, this.offset - this.from + length);
    this.offset += length;
    return found;
  }

  private piece: Uint8Array<ArrayBuffer> = new Uint8Array();
  private from = 0;
}
