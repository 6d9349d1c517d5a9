import { cut, Fact, Unreadable } from '../sheet';
import { Source } from '../source';

/** Headers are read in steps: most are short. */
const STEPS = [64 * 1024, 512 * 1024, 4 * 2 ** 20];
const MOST_THINGS = 10_000;

/** The types of classic NetCDF: their names, sizes, and how a value is read, big-endian. */
const TYPES: Record<number, Type> = {
  1: { name: 'byte', size: 1, read: (view, at) => view.getInt8(at) },
  2: { name: 'char', size: 1, read: (view, at) => String.fromCharCode(view.getUint8(at)) },
  3: { name: 'short', size: 2, read: (view, at) => view.getInt16(at), fill: -32767 },
  4: { name: 'int', size: 4, read: (view, at) => view.getInt32(at), fill: -2147483647 },
  5: { name: 'float', size: 4, read: (view, at) => view.getFloat32(at), fill: Math.fround(9.969209968386869e36) },
  6: { name: 'double', size: 8, read: (view, at) => view.getFloat64(at), fill: 9.969209968386869e36 },
  7: { name: 'ubyte', size: 1, read: (view, at) => view.getUint8(at) },
  8: { name: 'ushort', size: 2, read: (view, at) => view.getUint16(at), fill: 65535 },
  9: { name: 'uint', size: 4, read: (view, at) => view.getUint32(at), fill: 4294967295 },
  10: { name: 'int64', size: 8, read: (view, at) => view.getBigInt64(at), fill: -9223372036854775806n },
  11: { name: 'uint64', size: 8, read: (view, at) => view.getBigUint64(at), fill: 18446744073709551614n }
};

export type Value = number | bigint | string;

export interface Type {
  name: string;
  size: number;
  read(view: DataView, at: number): Value;
  /** What stands for "never written" if the file names nothing else (netcdf.h, NC_FILL_…). */
  fill?: Value;
}

export interface Dimension {
  name: string;
  /** 0: it grows, by records. */
  length: number;
}

export interface Variable {
  name: string;
  type: Type;
  sides: Dimension[];
  attributes: Fact[];
  /** Values that stand for none. */
  fills: Value[];
  begin: number;
}

export interface Header {
  version: number;
  /** As the header claims; null if the writer did not know (a stream). */
  records: number | null;
  dimensions: Dimension[];
  attributes: Fact[];
  variables: Variable[];
  /** Its length in bytes. */
  length: number;
}

/**
 * Read the header of a classic NetCDF file (CDF-1, -2 and -5, after the grammar in
 * Unidata's "NetCDF Classic Format Specification").
 */
export function readHeader(source: Source): Promise<Header> {
  const found = headers.get(source) ?? read(source);
  headers.set(source, found);
  return found;
}

const headers = new WeakMap<Source, Promise<Header>>();

async function read(source: Source): Promise<Header> {
  for (const most of STEPS) {
    const start = await source.start(most);
    try {
      return parsed(new Cursor(start, start[3]));
    } catch (error) {
      if (!(error instanceof CutOff) || start.length === source.size) {
        throw error;
      }
    }
  }
  throw new CutOff();
}

class CutOff extends Unreadable {
  constructor() {
    super('Its header is cut off or damaged, or is too long for a preview.');
  }
}

function parsed(cursor: Cursor): Header {
  const claimed = cursor.count();
  const dimensions = cursor.list(10, () => ({ name: cursor.name(), length: cursor.count() }));
  const attributes = cursor.list(12, () => attribute(cursor).fact);
  const variables = cursor.list(11, () => variable(cursor, dimensions));
  const unknown = cursor.version === 5 ? 2 ** 64 : 2 ** 32 - 1;
  const records = claimed === unknown ? null : claimed;
  return { version: cursor.version, records, dimensions, attributes, variables, length: cursor.at };
}

function attribute(cursor: Cursor): { name: string; type: Type; fact: Fact; first?: Value } {
  const name = cursor.name();
  const type = cursor.type();
  const length = cursor.count();
  const view = cursor.take(length * type.size);
  const first = length > 0 ? type.read(view, 0) : undefined;
  if (type.name === 'char') {
    return { name, type, first, fact: [cut(name), cut(new TextDecoder().decode(view), 1000)] };
  }
  const shown = Array.from({ length: Math.min(length, 20) }, (_, index) => String(type.read(view, index * type.size)));
  return { name, type, first, fact: [cut(name), shown.join(', ') + (length > 20 ? ', …' : '')] };
}

function variable(cursor: Cursor, dimensions: Dimension[]): Variable {
  const name = cursor.name();
  const rank = cursor.count();
  const sides = cursor.times(rank, index => {
    const side = dimensions[cursor.count()];
    if (side === undefined || (side.length === 0 && index > 0)) {
      throw new Unreadable(`Its header gives ${cut(name, 60)} a dimension that cannot be: it is damaged.`);
    }
    return side;
  });
  const attributes = cursor.list(12, () => attribute(cursor));
  const type = cursor.type();
  cursor.count(); // its size, which the format itself calls redundant
  const begin = cursor.offset();
  const told = (which: string) => attributes.find(one => one.name === which && one.type === type)?.first;
  const fills = [told('_FillValue') ?? type.fill, told('missing_value')].filter(one => one !== undefined);
  return { name, type, sides, attributes: attributes.map(one => one.fact), fills, begin };
}

/** A place in the header that moves on. */
class Cursor {
  constructor(
    readonly data: Uint8Array<ArrayBuffer>,
    readonly version: number
  ) {}

  at = 4;

  take(length: number): DataView {
    const at = this.at;
    this.at += Math.ceil(length / 4) * 4;
    if (!(length >= 0) || at + length > this.data.length) {
      throw new CutOff();
    }
    return new DataView(this.data.buffer, this.data.byteOffset + at, length);
  }

  /** Numbers past 2^53 lose their last digits; nothing that large can be read anyway. */
  count(): number {
    return this.version === 5 ? Number(this.take(8).getBigUint64(0)) : this.take(4).getUint32(0);
  }

  offset(): number {
    return this.version === 1 ? this.take(4).getUint32(0) : Number(this.take(8).getBigUint64(0));
  }

  name(): string {
    return new TextDecoder().decode(this.take(this.count()));
  }

  type(): Type {
    const number = this.take(4).getUint32(0);
    const found = TYPES[number];
    if (!found) {
      throw new Unreadable(`Its header names a type ${number} that there is not: it is damaged.`);
    }
    return found;
  }

  list<T>(tag: number, read: () => T): T[] {
    const found = this.take(4).getUint32(0);
    const length = this.count();
    if (found !== tag && !(found === 0 && length === 0)) {
      throw new Unreadable('Its header is damaged.');
    }
    return this.times(length, read);
  }

  times<T>(count: number, read: (index: number) => T): T[] {
    if (count > MOST_THINGS) {
      throw new Unreadable(`Its header claims ${count.toLocaleString('en-US')} entries of a kind, too many to show.`);
    }
    return Array.from({ length: count }, (_, index) => read(index));
  }
}
