import { Format } from '../format';
import { bytes, cut, Fact, LONGEST_CELL, many, Node, Part, Sheet, Unreadable } from '../sheet';
import { Source } from '../source';

import { corner, valuesTable } from './array';
import { Header, readHeader, Value, Variable } from './netcdfheader';

/** Values whose distance is smaller are read at once, with what lies between. */
const GAP = 32 * 1024;
const LONGEST_SPAN = 2 ** 20;

/** Classic NetCDF: what its header says, and a corner of a variable. NetCDF-4 is HDF5, see there. */
export const netcdf: Format = {
  async read(source: Source): Promise<Sheet> {
    const header = await readHeader(source);
    const layout = layoutOf(header, source.size);
    const { records } = layout;
    const facts: Fact[] = [
      ['Size', bytes(source.size)],
      ['Variables', String(header.variables.length)],
      ['Records', records.toLocaleString('en-US')]
    ];
    const sides = header.dimensions.map(one => [cut(one.name), String(one.length || `${records} (grows)`)]);
    return {
      format: `NetCDF classic (CDF-${header.version})`,
      facts,
      parts: [
        { kind: 'table', title: 'Dimensions', columns: [{ name: 'name' }, { name: 'length' }], rows: sides },
        { kind: 'table', title: 'Attributes', columns: [{ name: 'name' }, { name: 'value' }], rows: header.attributes },
        { kind: 'tree', title: 'Variables', nodes: header.variables.map((one, at) => node(one, at, records)) }
      ],
      left: wrongs(header, layout, source.size)
    };
  },

  async open(source: Source, what: string): Promise<Part[]> {
    const header = await readHeader(source);
    const found = header.variables[Number(what)];
    const layout = layoutOf(header, source.size);
    if (!isInside(found, header, layout, source.size)) {
      throw new Unreadable('The values of this variable would lie outside the file: it is cut off or damaged.');
    }
    const { shape, values } = await cornerOf(source, found, layout);
    const title = cut(found.name);
    const note = 'Empty cells were never written, or are marked as missing.';
    const parts: Part[] = [valuesTable(title, shape, values)];
    return values.includes(null) ? [...parts, { kind: 'text', title: '', text: note }] : parts;
  }
};

/** How the file's values lie: fixed ones first, then records with a piece of each variable that grows. */
interface Layout {
  records: number;
  /** Bytes from a record to the next one. */
  stride: number;
  /** Records that the header claims and that the file has no room for. */
  missing: number;
}

function layoutOf({ variables, records: claimed }: Header, size: number): Layout {
  const growing = variables.filter(grows).map(one => ({ begin: one.begin, length: piece(one) }));
  if (!growing.length) {
    return { records: claimed ?? 0, stride: 0, missing: 0 };
  }
  // The pieces are padded to 4 bytes, unless there is one only (same specification, "Note on padding").
  const stride = growing.length === 1 ? growing[0].length : growing.reduce((sum, one) => sum + padded(one.length), 0);
  const first = Math.min(...growing.map(one => one.begin));
  // What the last record needs, whose padding may not have been written.
  const last = Math.max(...growing.map(one => one.begin - first + one.length));
  const room = Math.max(0, Math.floor((size - first - last) / stride) + 1) || 0;
  const records = Math.min(claimed ?? room, room);
  return { records, stride, missing: (claimed ?? records) - records };
}

function grows(variable: Variable): boolean {
  return variable.sides[0]?.length === 0;
}

/** Return the bytes of a variable: of all of it, or of what it has in a record. */
function piece(variable: Variable): number {
  const sides = grows(variable) ? variable.sides.slice(1) : variable.sides;
  return sides.reduce((product, side) => product * side.length, variable.type.size);
}

function padded(length: number): number {
  return Math.ceil(length / 4) * 4;
}

/** Return a variable's shape, and the distances of its values along each side. */
function placed(variable: Variable, layout: Layout): { shape: number[]; strides: number[] } {
  const shape = variable.sides.map(side => side.length || layout.records);
  const strides: number[] = [];
  let length = variable.type.size;
  for (let index = shape.length - 1; index >= 0; index -= 1) {
    strides[index] = index === 0 && grows(variable) ? layout.stride : length;
    length *= shape[index];
  }
  return { shape, strides };
}

/** Read what `corner` chooses, row by row; null where nothing was written. Characters in line are one text. */
async function cornerOf(
  source: Source,
  variable: Variable,
  layout: Layout
): Promise<{ shape: number[]; values: (Value | null)[] }> {
  const { type, begin, fills } = variable;
  const { shape: full, strides } = placed(variable, layout);
  const isText = type.name === 'char' && full.length > (grows(variable) ? 1 : 0);
  const shape = isText ? full.slice(0, -1) : full;
  if (full.includes(0)) {
    return { shape, values: [] };
  }
  const each = isText ? Math.min(full[shape.length], LONGEST_CELL + 1) : type.size;
  const ranges = corner(shape);
  const along = (fromEnd: number) => ({
    count: ranges[ranges.length - fromEnd]?.[1] ?? 1,
    stride: strides[ranges.length - fromEnd] ?? 0
  });
  const [rows, columns] = [along(2), along(1)];
  const places: number[] = [];
  for (let row = 0; row < rows.count; row += 1) {
    for (let column = 0; column < columns.count; column += 1) {
      places.push(begin + row * rows.stride + column * columns.stride);
    }
  }
  const views = await readPlaces(source, places, each);
  const values = views.map(view => {
    if (isText) {
      return cut(new TextDecoder().decode(view).replace(/\0+$/, ''));
    }
    const value = type.read(view, 0);
    return fills.some(fill => Object.is(fill, value)) ? null : value;
  });
  return { shape, values };
}

/** Read `each` bytes from all of these rising places, near ones at once. */
async function readPlaces(source: Source, places: number[], each: number): Promise<DataView[]> {
  const spans: { start: number; end: number; places: number[] }[] = [];
  for (const place of places) {
    const last = spans[spans.length - 1];
    if (last && place - last.end <= GAP && place + each - last.start <= LONGEST_SPAN) {
      last.places.push(place);
      last.end = place + each;
    } else {
      spans.push({ start: place, end: place + each, places: [place] });
    }
  }
  const found = spans.map(async ({ start, end, places: inside }) => {
    const data = await source.read(start, end - start);
    return inside.map(place => new DataView(data.buffer, data.byteOffset + place - start, each));
  });
  return (await Promise.all(found)).flat();
}

function node(variable: Variable, at: number, records: number): Node {
  const shape = variable.sides.slice(0, 32).map(side => `${cut(side.name, 60)} = ${side.length || records}`);
  const detail = `${variable.type.name} (${shape.join(', ')}${variable.sides.length > 32 ? ', …' : ''})`;
  return { name: cut(variable.name), detail, facts: variable.attributes, open: String(at) };
}

/** Say what the header claims and cannot be. */
function wrongs(header: Header, layout: Layout, size: number): string[] {
  const said: string[] = [];
  if (layout.missing > 0) {
    const claimed = many(header.records ?? 0, 'record');
    said.push(`Its header claims ${claimed}, and the file has room for ${layout.records}: it is cut off or damaged.`);
  }
  const outside = header.variables.filter(one => !isInside(one, header, layout, size)).length;
  if (outside) {
    said.push(
      `${many(outside, 'variable')} of it would lie outside the file or in its header: it is cut off or damaged.`
    );
  }
  const all = header.variables.map(one => ({ begin: one.begin, end: one.begin + piece(one) }));
  const sorted = all.filter(({ begin, end }) => end > begin).sort((one, other) => one.begin - other.begin);
  let reached = 0;
  let overlaps = 0;
  for (const { begin, end } of sorted) {
    overlaps += begin < reached ? 1 : 0;
    reached = Math.max(reached, end);
  }
  if (overlaps) {
    said.push(`${many(overlaps, 'variable')} of it would lie where another one is: it is damaged.`);
  }
  return said;
}

function isInside(variable: Variable, header: Header, layout: Layout, size: number): boolean {
  const records = grows(variable) ? layout.records : 1;
  const end = variable.begin + (records - 1) * layout.stride + piece(variable);
  return records === 0 || (variable.begin >= header.length && end <= size);
}
