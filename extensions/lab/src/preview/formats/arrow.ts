import {
  CompressionType,
  compressionRegistry,
  DataType,
  Field,
  Message,
  RecordBatch,
  RecordBatchReader,
  Schema
} from 'apache-arrow';

import { Format } from '../format';
import { LONGEST_READ } from '../protocol';
import { bytes, cell, cut, Fact, many, MOST_COLUMNS, MOST_ROWS, Node, Sheet, Unreadable } from '../sheet';
import { Source } from '../source';

import { lz4Frame } from './lz4frame';
import { LARGEST_UNPACKED, zstd } from './unpack';

const PIECE = 8 * 2 ** 20;
const LONGEST_MESSAGE = 4 * 2 ** 20;
const MOST_FIELDS = 2000;
/** A schema, dictionaries and one batch are read; this many messages at most. */
const MOST_MESSAGES = 100;

/** All that one batch may be when it is unpacked. */
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

/**
 * Arrow IPC, as a file (Feather 2) or stream: the schema and the first batch.
 *
 * A file is a stream with 8 bytes before it and a footer behind it, so both are read
 * from their beginning.
 */
export const arrow: Format = {
  async read(source: Source): Promise<Sheet> {
    const isFile = new TextDecoder().decode(source.head.subarray(0, 6)) === 'ARROW1';
    const found = await messages(source, isFile ? 8 : 0);
    unpacked = 0;
    const reader = RecordBatchReader.from(found.data);
    let schema: Schema;
    let batch: RecordBatch | null = null;
    const left = [...found.left];
    try {
      reader.open();
      schema = reader.schema;
      batch = (reader.next().value as RecordBatch | undefined) ?? null;
    } catch (error) {
      if (!reader.schema) {
        throw new Unreadable(`Its schema cannot be read: ${cell((error as Error).message)}.`);
      }
      schema = reader.schema;
      left.push(`The first batch cannot be read: ${cell((error as Error).message)}.`);
    }
    const facts: Fact[] = [
      ['Size', bytes(source.size)],
      ['Columns', String(schema.fields.length)],
      ['Layout', isFile ? 'file' : 'stream']
    ];
    const budget = { left: MOST_FIELDS };
    const parts: Sheet['parts'] = [
      { kind: 'tree', title: 'Schema', nodes: schema.fields.slice(0, MOST_FIELDS).map(field => node(field, budget, 0)) }
    ];
    if (batch) {
      facts.push(['Rows of the first batch', batch.numRows.toLocaleString('en-US')]);
      parts.unshift(table(batch, left));
    }
    return { format: 'Arrow table', facts, parts, left };
  }
};

interface Found {
  data: Uint8Array<ArrayBuffer>;
  left: string[];
}

/** Read whole messages up to the first batch (Arrow columnar format, "Encapsulated message format"). */
async function messages(source: Source, start: number): Promise<Found> {
  const data = await source.read(start, Math.min(source.size - start, PIECE));
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  let at = 0;
  for (let count = 0; count < MOST_MESSAGES; count += 1) {
    if (at + 8 > data.length) {
      break;
    }
    const isNew = view.getUint32(at, true) === 0xffffffff;
    const length = view.getInt32(at + (isNew ? 4 : 0), true);
    const body = at + (isNew ? 8 : 4) + length;
    if (length === 0) {
      return { data: data.subarray(0, at), left: ['It holds no rows.'] };
    }
    if (length < 0 || length > LONGEST_MESSAGE || body > data.length) {
      throw new Unreadable('Its schema is cut off, damaged, or too long for a preview.');
    }
    const message = decoded(data.subarray(body - length, body));
    const end = body + Number(message.bodyLength);
    if (!(Number(message.bodyLength) >= 0) || start + end > source.size) {
      return { data: data.subarray(0, at), left: ['Its first batch is cut off or damaged.'] };
    }
    if (message.isRecordBatch()) {
      return firstBatch(source, start, data, at, end);
    }
    at = end;
  }
  return { data: data.subarray(0, Math.min(at, data.length)), left: ['The rows are too far away for a preview.'] };
}

async function firstBatch(source: Source, start: number, data: Uint8Array<ArrayBuffer>, at: number, end: number): Promise<Found> {
  const left = start + end + 512 < source.size ? ['Only the first batch of rows is read.'] : [];
  if (end <= data.length) {
    return { data: data.subarray(0, end), left };
  }
  if (end > LONGEST_READ) {
    const why = `Its first batch has ${bytes(end - at)}, and an Arrow batch has to be read whole.`;
    return { data: data.subarray(0, at), left: [why] };
  }
  return { data: await source.read(start, end), left };
}

function decoded(data: Uint8Array): Message {
  try {
    return Message.decode(data);
  } catch {
    throw new Unreadable('This is no Arrow IPC, or it is damaged.');
  }
}

function node(field: Field, budget: { left: number }, depth: number): Node {
  budget.left -= 1;
  const inner = (field.type?.children ?? []) as Field[];
  const children =
    depth < 20 && budget.left > 0 ? inner.slice(0, budget.left).map(one => node(one, budget, depth + 1)) : [];
  const detail = cut(`${field.type}${field.nullable ? '' : ', never null'}`, 100);
  return { name: cut(field.name), detail, children: children.length ? children : undefined };
}

function table(batch: RecordBatch, left: string[]): Sheet['parts'][0] {
  const fields = batch.schema.fields.slice(0, MOST_COLUMNS);
  if (fields.length < batch.schema.fields.length) {
    left.push(`Only the first ${MOST_COLUMNS} of ${batch.schema.fields.length} columns are shown.`);
  }
  const count = Math.min(batch.numRows, MOST_ROWS);
  if (count < batch.numRows) {
    left.push(`Only the first ${many(count, 'row')} are shown.`);
  }
  const vectors = fields.map((_, index) => batch.getChildAt(index));
  const rows = Array.from({ length: count }, (_, row) =>
    vectors.map((vector, at) => shown(fields[at], () => vector?.get(row)))
  );
  return {
    kind: 'table',
    title: 'First rows',
    columns: fields.map(field => ({ name: cut(field.name), type: cut(String(field.type), 60) })),
    rows
  };
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
