import { Format } from '../format';
import { bytes, cut, Fact, Node, Sheet, Unreadable } from '../sheet';
import { Source } from '../source';

const MOST = 4 * 2 ** 20;
const MOST_THINGS = 10_000;
const TYPES: Record<number, [name: string, size: number]> = {
  1: ['byte', 1], 2: ['char', 1], 3: ['short', 2], 4: ['int', 4], 5: ['float', 4], 6: ['double', 8],
  7: ['ubyte', 1], 8: ['ushort', 2], 9: ['uint', 4], 10: ['int64', 8], 11: ['uint64', 8]
};

/**
 * The header of a classic NetCDF file (CDF-1, -2 and -5, after the grammar in Unidata's
 * "NetCDF Classic Format Specification"). NetCDF-4 is HDF5, see there.
 */
export const netcdf: Format = {
  async read(source: Source): Promise<Sheet> {
    const start = await source.start(MOST);
    const cursor = new Cursor(start, start[3]);
    const records = cursor.count(true);
    const dimensions = cursor.list(10, () => ({ name: cursor.name(), length: cursor.count(false) }));
    const attributes = cursor.list(12, () => attribute(cursor));
    const variables = cursor.list(11, () => variable(cursor, dimensions, records));
    const facts: Fact[] = [
      ['Size', bytes(source.size)],
      ['Variables', String(variables.length)],
      ['Records', String(records)]
    ];
    const sides = dimensions.map(one => [cut(one.name), String(one.length || `${records} (grows)`)]);
    return {
      format: `NetCDF classic (CDF-${start[3]})`,
      facts,
      parts: [
        { kind: 'table', title: 'Dimensions', columns: [{ name: 'name' }, { name: 'length' }], rows: sides },
        { kind: 'table', title: 'Attributes', columns: [{ name: 'name' }, { name: 'value' }], rows: attributes },
        { kind: 'tree', title: 'Variables', nodes: variables }
      ],
      left: ['The values of the variables are not read.']
    };
  }
};

type Dimension = { name: string; length: number };

function attribute(cursor: Cursor): [string, string] {
  const name = cursor.name();
  const [, size, type] = cursor.type();
  const length = cursor.count(false);
  const view = cursor.take(length * size);
  if (type === 2) {
    return [cut(name), cut(new TextDecoder().decode(view), 1000)];
  }
  const read = (at: number): number | bigint =>
    [
      () => view.getInt8(at), () => 0, () => view.getInt16(at), () => view.getInt32(at), () => view.getFloat32(at),
      () => view.getFloat64(at), () => view.getUint8(at), () => view.getUint16(at), () => view.getUint32(at),
      () => view.getBigInt64(at), () => view.getBigUint64(at)
    ][type - 1]();
  const shown = Array.from({ length: Math.min(length, 20) }, (_, index) => String(read(index * size)));
  return [cut(name), shown.join(', ') + (length > 20 ? ', …' : '')];
}

function variable(cursor: Cursor, dimensions: Dimension[], records: number): Node {
  const name = cursor.name();
  const rank = cursor.count(false);
  const sides = cursor.times(rank, () => dimensions[cursor.count(false)]);
  const facts = cursor.list(12, () => attribute(cursor)) as Fact[];
  const [type] = cursor.type();
  cursor.count(false); // its size, which the format itself calls redundant
  cursor.offset();
  const shape = sides.map(side => `${side?.name ?? '?'} = ${side?.length || records}`);
  return { name: cut(name), detail: `${type} (${shape.join(', ')})`, facts };
}

/** A place in the header that moves on. */
class Cursor {
  constructor(
    readonly data: Uint8Array<ArrayBuffer>,
    readonly version: number
  ) {}

  take(length: number): DataView {
    const at = this.at;
    this.at += Math.ceil(length / 4) * 4;
    if (!(length >= 0) || at + length > this.data.length) {
      throw new Unreadable('Its header is cut off or damaged, or is too long for a preview.');
    }
    return new DataView(this.data.buffer, this.data.byteOffset + at, length);
  }

  count(isRecords: boolean): number {
    if (this.version === 5) {
      const found = this.take(8).getBigUint64(0);
      return isRecords && found === 2n ** 64n - 1n ? 0 : Number(found);
    }
    const found = this.take(4).getUint32(0);
    return isRecords && found === 0xffffffff ? 0 : found;
  }

  offset(): void {
    this.take(this.version === 1 ? 4 : 8);
  }

  name(): string {
    return new TextDecoder().decode(this.take(this.count(false)));
  }

  type(): [name: string, size: number, number: number] {
    const number = this.take(4).getUint32(0);
    const found = TYPES[number];
    if (!found) {
      throw new Unreadable(`Its header names a type ${number} that there is not: it is damaged.`);
    }
    return [...found, number];
  }

  list<T>(tag: number, read: () => T): T[] {
    const found = this.take(4).getUint32(0);
    const length = this.count(false);
    if (found !== tag && !(found === 0 && length === 0)) {
      throw new Unreadable('Its header is damaged.');
    }
    return this.times(length, read);
  }

  times<T>(count: number, read: () => T): T[] {
    if (count > MOST_THINGS) {
      throw new Unreadable(`Its header claims ${count.toLocaleString('en-US')} entries of a kind, too many to show.`);
    }
    return Array.from({ length: count }, read);
  }

  private at = 4;
}
