import { Message, RecordBatch, RecordBatchReader, Schema } from 'apache-arrow';

import { LONGEST_READ } from '../protocol';
import { bytes, cell, many, Unreadable } from '../sheet';
import { Source } from '../source';

import { judgeMessage } from './arrowguard';

/** Read at once of the beginning, and where only a batch's own header is wanted. */
const FIRST_PIECE = 64 * 1024;
const PIECE = 8 * 1024;
const LONGEST_MESSAGE = 4 * 2 ** 20;
/** Messages that are looked at on the way to a row. */
const MOST_MESSAGES = 512;

type Bytes = Uint8Array<ArrayBuffer>;

/** A batch of rows: its place in the object, its first row, and how many it says it has. */
export interface Batch {
  at: number;
  end: number;
  row: number;
  count: number;
}

/** The schema, or a dictionary: what has to be read before a batch. */
interface Before {
  at: number;
  end: number;
  /** Of a dictionary that is replaced by the next one of its number. */
  id?: number;
}

/**
 * The messages of an Arrow stream or file (Arrow columnar format, "Encapsulated message
 * format"). A file is a stream with 8 bytes before it and a footer behind it, so both
 * are read from their beginning: a batch's header says where the next one is.
 */
export class Batches {
  /** Return the messages of a source; its schema is read. */
  static of(source: Source): Promise<Batches> {
    const found = Batches.files.get(source) ?? Batches.make(source);
    Batches.files.set(source, found);
    return found;
  }

  private static readonly files = new WeakMap<Source, Promise<Batches>>();

  private static async make(source: Source): Promise<Batches> {
    const isFile = new TextDecoder().decode(source.head.subarray(0, 6)) === 'ARROW1';
    const batches = new Batches(source, isFile);
    const message = await batches.next();
    if (!message?.isSchema()) {
      throw new Unreadable('Its schema is cut off or damaged.');
    }
    batches.before.push({ at: isFile ? 8 : 0, end: batches.at });
    try {
      batches.schema = RecordBatchReader.from(await batches.bytesOf(batches.before)).open().schema;
    } catch (error) {
      throw new Unreadable(`Its schema cannot be read: ${cell((error as Error).message)}.`);
    }
    return batches;
  }

  private constructor(
    readonly source: Source,
    readonly isFile: boolean
  ) {
    this.at = isFile ? 8 : 0;
    this.size = FIRST_PIECE;
  }

  schema!: Schema;
  readonly batches: Batch[] = [];
  /** Rows of the batches that were seen. */
  rows = 0;
  /** Whether all batches were seen. */
  isEnd = false;
  /** What is wrong with what follows the batches that were seen. */
  trouble = '';

  /** Go on to rows from `row` to `end`; rejects if `row` is too far from what was seen. */
  async reach(row: number, end: number): Promise<void> {
    for (let count = 0; !this.isEnd && this.rows < end; count += 1) {
      if (count === MOST_MESSAGES) {
        if (this.rows > row) {
          return;
        }
        const far = `Row ${(row + 1).toLocaleString('en-US')} is too far from what was read`;
        throw new Unreadable(`${far}: go to row ${this.rows.toLocaleString('en-US')} first.`);
      }
      await this.step();
    }
    if (row >= this.rows) {
      throw new Unreadable(`This table has ${many(this.rows, 'row')}${this.trouble && ' that can be read'}.`);
    }
  }

  /** Return a batch's rows, read as a whole with the schema and what dictionaries came before. */
  async read(batch: Batch): Promise<RecordBatch> {
    const before = this.needed(batch);
    const size = [...before, batch].reduce((sum, { at, end }) => sum + end - at, 0);
    if (size > LONGEST_READ) {
      throw new Unreadable(
        `it has ${bytes(size)} with its dictionaries; a batch has to be read whole, here up to ${bytes(LONGEST_READ)}`
      );
    }
    const data = await this.bytesOf([...before, batch]);
    const found = RecordBatchReader.from(data).open().next().value as RecordBatch | undefined;
    if (!found) {
      throw new Unreadable('it is damaged');
    }
    return found;
  }

  /** Return what a batch needs: not the dictionaries that others replaced before it. */
  private needed(batch: Batch): Before[] {
    const before = this.before.filter(({ at }) => at < batch.at);
    const last = new Map(before.map(one => [one.id, one.at]));
    return before.filter(({ at, id }) => id === undefined || last.get(id) === at);
  }

  private async step(): Promise<void> {
    const at = this.at;
    let message: Message | null;
    try {
      message = await this.next();
    } catch (error) {
      this.isEnd = true;
      this.trouble = (error as Error).message;
      return;
    }
    if (message === null) {
      this.isEnd = true;
    } else if (message.isDictionaryBatch()) {
      const { id, isDelta } = message.header();
      this.before.push({ at, end: this.at, id: isDelta ? undefined : Number(id) });
    } else if (message.isRecordBatch()) {
      const count = Number(message.header().length);
      this.batches.push({ at, end: this.at, row: this.rows, count });
      this.rows += count;
    }
  }

  /** Read the next message's header and go on behind its body; null at the end. */
  private async next(): Promise<Message | null> {
    const first = await this.peek(8);
    if (first.length < 8) {
      return null;
    }
    const view = new DataView(first.buffer, first.byteOffset, 8);
    const isNew = view.getUint32(0, true) === 0xffffffff;
    const [prefix, length] = [isNew ? 8 : 4, view.getInt32(isNew ? 4 : 0, true)];
    if (length === 0) {
      return null;
    }
    if (length < 0 || length > LONGEST_MESSAGE) {
      throw new Unreadable('This is no Arrow IPC, or it is damaged, or its schema is too long for a preview.');
    }
    const header = (await this.peek(prefix + length)).subarray(prefix);
    const message = decoded(header);
    const end = this.at + prefix + length + message.bodyLength;
    const rows = message.isRecordBatch() ? Number(message.header().length) : 0;
    if (header.length < length || !(message.bodyLength >= 0) || end > this.source.size) {
      throw new Unreadable('A batch of it is cut off or damaged.');
    }
    if (!(rows >= 0) || !Number.isSafeInteger(this.rows + rows)) {
      throw new Unreadable(`A batch claims ${rows.toLocaleString('en-US')} rows: it is damaged.`);
    }
    this.at = end;
    return message;
  }

  /** Return bytes from here on, fewer at the end; a little more than is asked for is read. */
  private async peek(length: number): Promise<Bytes> {
    const wanted = Math.min(length, this.source.size - this.at);
    const from = this.at - this.pieceAt;
    if (from < 0 || from + wanted > this.piece.length) {
      const size = Math.min(Math.max(wanted, this.size), this.source.size - this.at);
      this.piece = await this.source.read(this.at, size);
      this.pieceAt = this.at;
      this.size = PIECE;
    }
    return this.piece.subarray(this.at - this.pieceAt).subarray(0, wanted);
  }

  /** Return messages in line; the schema and dictionaries stay for the next time. */
  private async bytesOf(places: { at: number; end: number }[]): Promise<Bytes> {
    const found = await Promise.all(
      places.map(async ({ at, end }) => [at, this.kept.get(at) ?? (await this.source.read(at, end - at))] as const)
    );
    const stays = new Set(this.before.map(one => one.at));
    this.kept = new Map(found.filter(([at]) => stays.has(at)));
    return new Uint8Array(await new Blob(found.map(([, data]) => data)).arrayBuffer());
  }

  private readonly before: Before[] = [];
  private kept = new Map<number, Bytes>();
  private at: number;
  private piece: Bytes = new Uint8Array();
  private pieceAt = 0;
  private size: number;
}

function decoded(data: Uint8Array): Message {
  try {
    judgeMessage(data);
    const message = Message.decode(data);
    message.header(); // is read when it is asked for, and may be damaged too
    return message;
  } catch (error) {
    if (error instanceof Unreadable) {
      throw error;
    }
    throw new Unreadable('This is no Arrow IPC, or it is damaged.');
  }
}
