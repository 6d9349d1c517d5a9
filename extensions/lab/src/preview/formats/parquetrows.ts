import { ColumnChunk, FileMetaData, parquetReadObjects, RowGroup } from 'hyparquet';
import { CompressionCodec, compressors } from 'hyparquet-compressors';
import { deserializeTCompactProtocol } from 'hyparquet/src/thrift.js';

import { LONGEST_READ } from '../protocol';
import { bytes, cell, Column, COLUMNS_AT_ONCE, cut, many, MOST_ROWS, Page, Place, Unreadable } from '../sheet';
import { Source } from '../source';

import { judgeThrift } from './thrift';

/** Bytes of column chunks that are read for one window. */
const MOST_COLUMN_BYTES = 32 * 2 ** 20;
/** A window may lie across small row groups; so many chunks are read for it. */
const MOST_CHUNKS = 200;
const LARGEST_PAGE = 24 * 2 ** 20;
const MOST_VALUES = 4_000_000;

type Bytes = Uint8Array<ArrayBuffer>;

/** The rows of a Parquet file, window by window: only chunks of the columns and groups that are shown. */
export class Rows {
  constructor(
    readonly source: Source,
    readonly metadata: FileMetaData
  ) {
    for (const group of metadata.row_groups) {
      const count = Number(group.num_rows);
      if (!(count >= 0) || !Number.isSafeInteger(this.total + count)) {
        throw new Unreadable(`Its footer claims a row group of ${group.num_rows} rows: it is damaged.`);
      }
      this.starts.push(this.total);
      this.total += count;
    }
    this.columns = [...new Set(metadata.row_groups[0]?.columns.map(nameOf) ?? [])];
  }

  /** Rows of all row groups. */
  total = 0;
  /** Names of the columns, nested ones by their top. */
  readonly columns: string[];

  /** Return the window that begins at this place. */
  async page({ row, column }: Place): Promise<Page> {
    if (row >= this.total || column >= this.columns.length) {
      throw new Unreadable(`This table has ${many(this.total, 'row')} and ${many(this.columns.length, 'column')}.`);
    }
    const first = this.starts.findIndex((start, index) => row >= start && row < start + this.countOf(index));
    const choice = this.choose(first, column);
    const end = this.endOf(first, row, choice);
    const left = this.hidden(choice);
    const shown = await this.read(choice.names, first, row, end, left);
    const count = shown.length ? end - row : 0;
    const rows = Array.from({ length: count }, (_, index) => shown.map(({ values }) => cell(values[index])));
    return {
      table: {
        kind: 'table',
        title: 'Rows',
        columns: shown.map(one => one.column),
        rows,
        window: {
          rows: { first: row, count: end - row, total: this.total },
          columns: { first: column, count: choice.next - column, total: this.columns.length }
        }
      },
      left
    };
  }

  /** Choose columns in their order, from one on, until enough would be read. */
  private choose(group: number, from: number): Choice {
    const chunks = chunksOf(this.metadata.row_groups[group]);
    const choice: Choice = { names: [], tooLarge: [], next: from, size: 0 };
    while (choice.next < this.columns.length && choice.next - from < COLUMNS_AT_ONCE) {
      const name = this.columns[choice.next];
      const size = sizeOf(chunks.get(name));
      if (!(size >= 0 && size <= LONGEST_READ)) {
        choice.tooLarge.push(name);
      } else if (choice.size + size > MOST_COLUMN_BYTES) {
        break;
      } else {
        choice.names.push(name);
        choice.size += size;
      }
      choice.next += 1;
    }
    return choice;
  }

  /** Return where a window ends: after enough rows, or with the last row group that is not too much. */
  private endOf(first: number, row: number, choice: Choice): number {
    const wanted = Math.min(row + MOST_ROWS, this.total);
    let { size } = choice;
    let count = choice.names.length;
    for (let index = first; ; index += 1) {
      const end = this.starts[index] + this.countOf(index);
      if (end >= wanted) {
        return wanted;
      }
      const next = chunksOf(this.metadata.row_groups[index + 1]);
      const chunks = choice.names.map(name => next.get(name) ?? []);
      size += chunks.reduce((sum, one) => sum + sizeOf(one), 0);
      count += chunks.flat().length;
      if (!(size <= MOST_COLUMN_BYTES) || count > MOST_CHUNKS || !choice.names.length) {
        return end;
      }
    }
  }

  private hidden({ names, tooLarge }: Choice): string[] {
    const left: string[] = [];
    const count = this.columns.length - names.length;
    if (count) {
      left.push(
        `${many(count, 'column')} of ${this.columns.length} are not shown: a preview reads up to ` +
          `${COLUMNS_AT_ONCE} columns and ${bytes(MOST_COLUMN_BYTES)} at once.`
      );
    }
    if (tooLarge.length) {
      left.push(`More than ${bytes(LONGEST_READ)} in this row group: ${some(tooLarge)}.`);
    }
    return left;
  }

  /** Read columns of the rows from `row` to `end`, which begin in row group `first`. */
  private async read(names: string[], first: number, row: number, end: number, left: string[]): Promise<Shown[]> {
    const read = new Map<number, Bytes>();
    const failed = new Map<string, string[]>();
    const found = names.map(async (name): Promise<Shown | null> => {
      const values: unknown[] = [];
      let type: string | undefined;
      try {
        for (let index = first; index < this.starts.length && this.starts[index] < end; index += 1) {
          const group = this.metadata.row_groups[index];
          const [from, to] = [row, end].map(one =>
            Math.min(Math.max(one - this.starts[index], 0), this.countOf(index))
          );
          const chunks = chunksOf(group).get(name) ?? [];
          type = chunks.length === 1 ? chunks[0].meta_data?.type : undefined;
          values.push(...(await this.column(group, name, chunks, from, to, read)));
        }
      } catch (error) {
        const why = cell((error as Error).message);
        failed.set(why, [...(failed.get(why) ?? []), name]);
        return null;
      }
      return { column: { name: cut(name), type }, values };
    });
    const shown = await Promise.all(found);
    // The next window is likely in the same row group: what was read for this one stays.
    this.kept = read;
    for (const [why, which] of failed) {
      left.push(`${many(which.length, 'column')} cannot be read (${some(which)}): ${why}`);
    }
    return shown.filter(one => one !== null);
  }

  /** Read rows of one column of a row group, after a look at what its pages claim. */
  private async column(
    group: RowGroup,
    name: string,
    chunks: ColumnChunk[],
    rowStart: number,
    rowEnd: number,
    read: Map<number, Bytes>
  ): Promise<unknown[]> {
    if (rowStart === rowEnd) {
      return [];
    }
    for (const { meta_data: facts, file_path: other } of chunks) {
      if (!facts || other) {
        throw new Unreadable('it lies in another file.');
      }
      if (facts.num_values < group.num_rows) {
        throw new Unreadable('it has fewer values than its row group has rows: the file is damaged.');
      }
      const start = Number(facts.dictionary_page_offset || facts.data_page_offset);
      const length = Number(facts.total_compressed_size);
      const before = this.kept.get(start) ?? read.get(start);
      const data = before?.length === length ? before : await this.source.read(start, length);
      judge(data);
      read.set(start, data);
    }
    const file = {
      byteLength: this.source.size,
      slice: (start: number, end = this.source.size) => pieceOf(read, start, end)
    };
    const metadata = { ...this.metadata, row_groups: [group], num_rows: group.num_rows };
    const found = await parquetReadObjects({ file, metadata, columns: [name], rowStart, rowEnd, compressors: guarded });
    return found.map(row => row[name] as unknown);
  }

  private countOf(group: number): number {
    return Number(this.metadata.row_groups[group].num_rows);
  }

  private readonly starts: number[] = [];
  private kept = new Map<number, Bytes>();
}

interface Choice {
  names: string[];
  tooLarge: string[];
  /** The first column that was not looked at. */
  next: number;
  size: number;
}

interface Shown {
  column: Column;
  values: unknown[];
}

function some(names: string[]): string {
  return (
    names
      .slice(0, 5)
      .map(name => cut(name, 60))
      .join(', ') + (names.length > 5 ? ', …' : '')
  );
}

function nameOf(chunk: ColumnChunk): string {
  return chunk.meta_data?.path_in_schema[0] ?? '';
}

function chunksOf(group: RowGroup): Map<string, ColumnChunk[]> {
  const found = new Map<string, ColumnChunk[]>();
  for (const chunk of group.columns) {
    const before = found.get(nameOf(chunk));
    if (before) {
      before.push(chunk);
    } else {
      found.set(nameOf(chunk), [chunk]);
    }
  }
  return found;
}

function sizeOf(chunks: ColumnChunk[] = []): number {
  return chunks.reduce((sum, one) => sum + Number(one.meta_data?.total_compressed_size ?? Infinity), 0);
}

/** Return bytes from what was read; the library joins chunks over small gaps, which it does not look into. */
function pieceOf(read: Map<number, Bytes>, start: number, end: number): Promise<ArrayBuffer> {
  if (!(end - start <= MOST_COLUMN_BYTES)) {
    throw new Unreadable('it is too large.');
  }
  const piece = new Uint8Array(end - start);
  for (const [from, data] of read) {
    const inside = data.subarray(Math.max(0, start - from), Math.max(0, end - from));
    piece.set(inside, Math.min(Math.max(0, from - start), piece.length - inside.length));
  }
  return Promise.resolve(piece.buffer);
}

/** Refuse pages that would grow out of all proportion; their headers say so. */
function judge(data: Bytes): void {
  const reader = { view: new DataView(data.buffer, data.byteOffset, data.length), offset: 0 };
  let [size, values] = [0, 0];
  while (reader.offset < data.length) {
    judgeThrift(data, reader.offset, data.length);
    const header = deserializeTCompactProtocol(reader) as Record<string, unknown>;
    const [unpacked, packed] = [Number(header.field_2), Number(header.field_3)];
    const counts = [header.field_5, header.field_7, header.field_8].map(one => Number(Object(one ?? {}).field_1 ?? 0));
    size += unpacked;
    values += Math.max(...counts);
    if (!(packed >= 0) || !(unpacked >= 0) || unpacked > LARGEST_PAGE) {
      throw new Unreadable(`a page of it claims ${unpacked.toLocaleString('en-US')} bytes unpacked.`);
    }
    // A chunk of honest data may be large: what is read of it ends with the rows that are shown.
    if (!(values <= MOST_VALUES) || Math.min(...counts) < 0 || size > 8 * LARGEST_PAGE) {
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
      return unpack(input, length);
    }
  ])
);
