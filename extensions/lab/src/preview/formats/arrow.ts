import { compressionRegistry, CompressionType, DataType, Field, RecordBatch } from 'apache-arrow';

import { Format } from '../format';
import { LONGEST_READ } from '../protocol';
import {
  bytes,
  cell,
  COLUMNS_AT_ONCE,
  cut,
  Fact,
  many,
  MOST_ROWS,
  Node,
  Page,
  Part,
  Place,
  Sheet,
  Unreadable
} from '../sheet';
import { Source } from '../source';

import { Batch, Batches } from './arrowbatches';
import { lz4Frame } from './lz4frame';
import { LARGEST_UNPACKED, zstd } from './unpack';

const MOST_FIELDS = 2000;
/** A window may lie across so many small batches. */
const MOST_BATCHES = 20;

/** All that the batches of a window may be when they are unpacked. */
const MOST_UNPACKED = 4 * LARGEST_UNPACKED;
let unpacked = 0;

function counted(data: Uint8Array): Uint8Array {
  unpacked += data.length;
  if (unpacked > MOST_UNPACKED) {
    throw new Unreadable('it unpacks to too much for a preview');
  }
  return data;
}

compressionRegistry.set(CompressionType.LZ4_FRAME, { decode: data => counted(lz4Frame(data, LARGEST_UNPACKED)) });
compressionRegistry.set(CompressionType.ZSTD, { decode: data => counted(zstd(data as Uint8Array<ArrayBuffer>)) });

/** Arrow IPC, as a file (Feather 2) or stream: the schema, and its rows window by window. */
export const arrow: Format = {
  async read(source: Source): Promise<Sheet> {
    const batches = await Batches.of(source);
    const { fields } = batches.schema;
    const budget = { left: MOST_FIELDS };
    const parts: Part[] = [
      { kind: 'tree', title: 'Schema', nodes: fields.slice(0, MOST_FIELDS).map(field => node(field, budget, 0)) }
    ];
    const left: string[] = [];
    await batches.reach(-1, MOST_ROWS + 1);
    if (batches.rows > 0 && fields.length > 0) {
      const page = await windowOf(source, batches, { row: 0, column: 0 });
      parts.unshift(page.table);
      left.push(...page.left);
    } else {
      left.push(batches.trouble || 'It holds no rows.');
    }
    const facts: Fact[] = [
      ['Size', bytes(source.size)],
      ['Columns', String(fields.length)],
      ['Layout', batches.isFile ? 'file' : 'stream']
    ];
    if (batches.batches.length) {
      facts.push(['Rows of the first batch', batches.batches[0].count.toLocaleString('en-US')]);
    }
    return { format: 'Arrow table', facts, parts, left };
  },

  async page(source: Source, place: Place): Promise<Page> {
    return windowOf(source, await Batches.of(source), place);
  }
};

/** Return the window that begins at a place: of a batch, and of those after it if they are small. */
async function windowOf(source: Source, batches: Batches, { row, column }: Place): Promise<Page> {
  const { fields } = batches.schema;
  if (column >= fields.length) {
    throw new Unreadable(`This table has ${many(fields.length, 'column')}.`);
  }
  // One row more, so that it is known whether there is a next window.
  await batches.reach(row, row + MOST_ROWS + 1);
  const first = batches.batches.findIndex(one => row < one.row + one.count);
  const left: string[] = [];
  const chosen = fields.slice(column, column + COLUMNS_AT_ONCE);
  const rows: string[][] = [];
  const before = decoded.get(source);
  const now = new Map<Batch, RecordBatch>();
  decoded.set(source, now);
  let end = row;
  let size = 0;
  unpacked = 0;
  for (const batch of batches.batches.slice(first, first + MOST_BATCHES)) {
    size += batch.end - batch.at;
    if (end === row + MOST_ROWS || (now.size > 0 && size > LONGEST_READ)) {
      break;
    }
    try {
      const found = before?.get(batch) ?? (await batches.read(batch));
      now.set(batch, found);
      const last = Math.min(batch.row + batch.count, row + MOST_ROWS);
      rows.push(...values(found, chosen, column, end - batch.row, last - batch.row));
      end = last;
    } catch (error) {
      if (end === row) {
        const [from, to] = [batch.row + 1, batch.row + batch.count].map(one => one.toLocaleString('en-US'));
        left.push(`The batch of the rows ${from} to ${to} cannot be read: ${cell((error as Error).message)}.`);
        end = batch.row + batch.count;
      }
      break;
    }
  }
  if (chosen.length < fields.length) {
    left.push(`${many(fields.length - chosen.length, 'column')} of ${fields.length} are not shown.`);
  }
  if (batches.trouble) {
    left.push(`What follows row ${batches.rows.toLocaleString('en-US')} cannot be read. ${batches.trouble}`);
  }
  const window = {
    rows: { first: row, count: end - row, total: batches.rows, isOpen: !batches.isEnd },
    columns: { first: column, count: chosen.length, total: fields.length }
  };
  const columns = chosen.map(field => ({ name: cut(field.name ?? ''), type: cut(String(field.type), 60) }));
  return { table: { kind: 'table', title: 'Rows', columns, rows, window }, left };
}

/** The batches of the last window: the next one is likely in the same. */
const decoded = new WeakMap<Source, Map<Batch, RecordBatch>>();

/** Return rows of a batch, as far as it has them. */
function values(batch: RecordBatch, fields: Field[], column: number, start: number, end: number): string[][] {
  const vectors = fields.map((_, index) => batch.getChildAt(column + index));
  return Array.from({ length: end - start }, (_, index) =>
    vectors.map((vector, at) => shown(fields[at], () => vector?.get(start + index)))
  );
}

function node(field: Field, budget: { left: number }, depth: number): Node {
  budget.left -= 1;
  const inner = (field.type?.children ?? []) as Field[];
  const children =
    depth < 20 && budget.left > 0 ? inner.slice(0, budget.left).map(one => node(one, budget, depth + 1)) : [];
  const detail = cut(`${field.type}${field.nullable ? '' : ', never null'}`, 100);
  return { name: cut(field.name ?? ''), detail, children: children.length ? children : undefined };
}

/** A damaged value spoils its own cell only. */
function shown(field: Field, read: () => unknown): string {
  try {
    const value = read();
    // Times come in milliseconds since 1970, whatever their unit is.
    const isTime = DataType.isTimestamp(field.type) || DataType.isDate(field.type);
    return cell(isTime && value !== null ? new Date(Number(value)) : value);
  } catch {
    return '(damaged)';
  }
}
