import { ColumnChunk, FileMetaData, parquetMetadata, parquetReadObjects, SchemaElement } from 'hyparquet';
import { deserializeTCompactProtocol } from 'hyparquet/src/thrift.js';
import { compressors, CompressionCodec } from 'hyparquet-compressors';

import { Format } from '../format';
import { LONGEST_READ } from '../protocol';
import { bytes, cell, Column, cut, Fact, many, MOST_ROWS, Node, Sheet, Unreadable } from '../sheet';
import { Source } from '../source';

const LONGEST_FOOTER = 12 * 2 ** 20;
/** Bytes of column chunks that are read for the first rows. */
const MOST_COLUMN_BYTES = 32 * 2 ** 20;
const LARGEST_PAGE = 24 * 2 ** 20;
const MOST_VALUES = 4_000_000;
const MOST_SHOWN = 50;
const MOST_LISTED = 2000;

/** A Parquet file: its schema, and the first rows of the columns that are small enough. */
export const parquet: Format = {
  async read(source: Source): Promise<Sheet> {
    const metadata = await footer(source);
    const left: string[] = [];
    const rows = await firstRows(source, metadata, left);
    const groups = metadata.row_groups;
    const facts: Fact[] = [
      ['Size', bytes(source.size)],
      ['Rows', metadata.num_rows.toLocaleString('en-US')],
      ['Row groups', groups.length.toLocaleString('en-US')],
      ['Written by', cut(metadata.created_by ?? 'unknown')]
    ];
    const codecs = new Set(groups[0]?.columns.map(column => column.meta_data?.codec ?? '?') ?? []);
    if (codecs.size) {
      facts.push(['Compression', [...codecs].join(', ')]);
    }
    const schema: Sheet['parts'][0] = { kind: 'tree', title: 'Schema', nodes: schemaOf(metadata.schema, left) };
    return { format: 'Parquet table', facts, parts: rows ? [rows, schema] : [schema], left };
  }
};

/** Read the footer, which says where everything is. */
async function footer(source: Source): Promise<FileMetaData> {
  if (source.size < 12) {
    throw new Unreadable('This file is too short for Parquet: it is cut off.');
  }
  const end = await source.read(source.size - 8, 8);
  const view = new DataView(end.buffer, end.byteOffset, 8);
  if (view.getUint32(4, true) !== 0x31524150) {
    throw new Unreadable('This file does not end as Parquet does: it is cut off, still being written, or encrypted.');
  }
  const length = view.getUint32(0, true) + 8;
  if (length > source.size) {
    throw new Unreadable('Its footer claims to be longer than the file: it is damaged.');
  }
  if (length > LONGEST_FOOTER) {
    throw new Unreadable(`Its footer has ${bytes(length)}; a preview reads up to ${bytes(LONGEST_FOOTER)}.`);
  }
  const data = await source.read(source.size - length, length);
  try {
    return parquetMetadata(data.slice().buffer);
  } catch (error) {
    throw new Unreadable(`Its footer cannot be read: ${cell((error as Error).message)}.`);
  }
}

async function firstRows(source: Source, metadata: FileMetaData, left: string[]): Promise<Sheet['parts'][0] | null> {
  const group = metadata.row_groups[0];
  if (!group || metadata.num_rows === 0n) {
    left.push('The table has no rows.');
    return null;
  }
  const wanted = columnsToRead(group.columns, left);
  const columns: Column[] = [];
  const rows: string[][] = [];
  for (const [name, chunks] of wanted) {
    const values = await column(source, metadata, name, chunks).catch((error: unknown) => {
      left.push(`The column ${cut(name, 60)} cannot be read: ${cell((error as Error).message)}`);
      return null;
    });
    if (values !== null) {
      columns.push({ name: cut(name), type: chunks.length === 1 ? chunks[0].meta_data?.type : undefined });
      values.forEach((value, index) => (rows[index] ??= []).push(cell(value)));
    }
  }
  if (metadata.num_rows > MOST_ROWS) {
    left.push(`Only the first ${many(rows.length, 'row')} of ${many(metadata.num_rows, 'row')} are shown.`);
  }
  return columns.length ? { kind: 'table', title: 'First rows', columns, rows } : null;
}

/** Choose columns in their order, until enough would have been read. */
function columnsToRead(chunks: ColumnChunk[], left: string[]): Map<string, ColumnChunk[]> {
  const byName = new Map<string, ColumnChunk[]>();
  for (const chunk of chunks) {
    const name = chunk.meta_data?.path_in_schema[0] ?? '';
    byName.set(name, [...(byName.get(name) ?? []), chunk]);
  }
  const chosen = new Map<string, ColumnChunk[]>();
  let space = MOST_COLUMN_BYTES;
  for (const [name, parts] of byName) {
    const size = parts.reduce((sum, part) => sum + Number(part.meta_data?.total_compressed_size ?? Infinity), 0);
    if (chosen.size >= MOST_SHOWN || !(size <= space) || size > LONGEST_READ) {
      continue;
    }
    space -= size;
    chosen.set(name, parts);
  }
  if (chosen.size < byName.size) {
    left.push(
      `${many(byName.size - chosen.size, 'column')} of ${byName.size} are not shown: a preview reads up to ` +
        `${MOST_SHOWN} columns and ${bytes(MOST_COLUMN_BYTES)}.`
    );
  }
  return chosen;
}

/** Read one column of the first row group, after a look at what its pages claim. */
async function column(
  source: Source,
  metadata: FileMetaData,
  name: string,
  chunks: ColumnChunk[]
): Promise<unknown[]> {
  const cache = new Map<number, Uint8Array<ArrayBuffer>>();
  for (const chunk of chunks) {
    const facts = chunk.meta_data;
    if (!facts || chunk.file_path) {
      throw new Unreadable('it lies in another file.');
    }
    const start = Number(facts.dictionary_page_offset || facts.data_page_offset);
    const data = await source.read(start, Number(facts.total_compressed_size));
    judge(data);
    cache.set(start, data);
  }
  const file = {
    byteLength: source.size,
    slice: async (start: number, end = source.size): Promise<ArrayBuffer> => {
      for (const [from, data] of cache) {
        if (start >= from && end <= from + data.length) {
          return data.slice(start - from, end - from).buffer;
        }
      }
      return (await source.read(start, end - start)).slice().buffer;
    }
  };
  const rowEnd = Math.min(MOST_ROWS, Number(metadata.row_groups[0].num_rows));
  const found = await parquetReadObjects({ file, metadata, columns: [name], rowEnd, compressors: guarded });
  return found.map(row => row[name] as unknown);
}

/** Refuse pages that would grow out of all proportion; their headers say so. */
function judge(data: Uint8Array<ArrayBuffer>): void {
  const reader = { view: new DataView(data.buffer, data.byteOffset, data.length), offset: 0 };
  let [size, values] = [0, 0];
  while (reader.offset < data.length) {
    const header = deserializeTCompactProtocol(reader) as Record<string, unknown>;
    const [unpacked, packed] = [Number(header.field_2), Number(header.field_3)];
    const inner = (header.field_5 ?? header.field_7 ?? header.field_8 ?? {}) as Record<string, unknown>;
    size += unpacked;
    values += Number(inner.field_1 ?? 0);
    if (!(packed >= 0) || !(unpacked >= 0) || unpacked > LARGEST_PAGE) {
      throw new Unreadable(`a page of it claims ${unpacked.toLocaleString('en-US')} bytes unpacked.`);
    }
    // A chunk of honest data may be large: what is read of it ends with the first rows.
    if (values > MOST_VALUES || size > 8 * LARGEST_PAGE) {
      throw new Unreadable('its pages hold too much for a preview.');
    }
    reader.offset += packed;
  }
}

const guarded = Object.fromEntries(
  Object.entries(compressors).map(([codec, unpack]) => [
    codec as CompressionCodec,
    (input: Uint8Array, length: number) => {
      if (length > LARGEST_PAGE) {
        throw new Unreadable('a page of it is too large.');
      }
      return unpack!(input, length);
    }
  ])
);

/** Turn the flat list of the schema, which counts children, into a tree. */
function schemaOf(elements: SchemaElement[], left: string[]): Node[] {
  let next = 1;
  const take = (count: number, depth: number): Node[] => {
    const nodes: Node[] = [];
    while (nodes.length < count && next < Math.min(elements.length, MOST_LISTED) && depth < 50) {
      const element = elements[next];
      next += 1;
      const logical = element.logical_type?.type ?? element.converted_type;
      const words = [element.type?.toLowerCase(), logical?.toLowerCase(), element.repetition_type?.toLowerCase()];
      const children = element.num_children ? take(element.num_children, depth + 1) : undefined;
      nodes.push({ name: cut(element.name), detail: words.filter(Boolean).join(', '), children });
    }
    return nodes;
  };
  const nodes = take(elements[0]?.num_children ?? 0, 0);
  if (elements.length > MOST_LISTED) {
    left.push(`Only the first ${MOST_LISTED} of ${many(elements.length, 'field')} are listed.`);
  }
  return nodes;
}
