import { Page } from '../types';

/** One line of a list: an object, or all keys that go on behind a slash. */
export interface Row {
  key: string;
  folder: boolean;
  size: number;
  modified: string;
  etag: string;
}

/** Reads one page of keys under a prefix. */
export type ReadPage = (at: { token?: string; after?: string }) => Promise<Page>;

/** Pages whose rows are kept; others are read again when they are looked at. */
const KEPT = 60;
/** After a fault nothing is read for a while, ever longer, or who looks would not stop. */
const FIRST_REST = 2000;
const LONGEST_REST = 30_000;
const FAR = '\u{10FFFF}';
const SLASH = 0x2f;

interface Piece {
  at: { token?: string; after?: string };
  count: number;
  rows: Row[] | null;
}

/** Order as stores have it: by the bytes of UTF-8, which is by code point. */
export function compare(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  for (let i = 0; i < shorter; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x !== y) {
      // Halves of a pair stand for code points above all others.
      const high = (unit: number) => (unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit);
      return high(x) - high(y);
    }
  }
  return a.length - b.length;
}

/** A text between two others, as near the middle as one more character gets. */
export function between(low: string, high: string): string {
  const [a, b] = [Array.from(low), Array.from(high)];
  const point = (chars: string[], i: number, otherwise: number) => chars[i]?.codePointAt(0) ?? otherwise;
  for (let i = 0; i < 1024; i++) {
    const [from, to] = [point(a, i, 0x1f), point(b, i, 0x7f)];
    // Nearly all names are ASCII: the middle of all code points would be far off.
    const top = from < 0x7e && to > 0x7f ? 0x7f : to;
    let middle = Math.floor((from + top) / 2);
    if (middle === SLASH && middle + 1 < to) {
      middle += 1; // some stores take a slash for the start of a folder
    }
    if (middle > from && middle !== SLASH && (middle < 0xd800 || middle > 0xdfff)) {
      return a.slice(0, i).join('') + String.fromCodePoint(middle);
    }
    if (to > from) {
      b.length = i + 1; // whatever follows in `low` is below `high`
      b.push(FAR);
      if (a.length <= i) {
        return low;
      }
    }
  }
  return low;
}

/** Objects and folders of a page as one list, in the store's order. */
export function merge(page: Page): Row[] {
  const objects = page.objects.map(one => ({
    key: one.key,
    folder: false,
    size: one.size,
    modified: one.modified,
    etag: one.etag
  }));
  if (!page.prefixes.length) {
    return objects;
  }
  const folders = page.prefixes.map(key => ({ key, folder: true, size: 0, modified: '', etag: '' }));
  return [...objects, ...folders].sort((a, b) => compare(a.key, b.key));
}

/**
 * The rows under a prefix, read page by page as they are looked at.
 *
 * What is known is the beginning and, after a jump, the end; between them lies one row
 * that stands for what was not read yet. Only what is near the view is kept in memory.
 */
export class Listing {
  constructor(
    private readonly read: ReadPage,
    private readonly changed: () => void,
    /** Whether what failed may work later without anybody's doing. */
    private readonly passing: (fault: unknown) => boolean = () => true
  ) {}

  /** Whether something is being read now. */
  busy = false;
  /** Why reading failed, until it works; a look after a rest tries again. */
  fault: unknown = null;
  /** Whether all rows from first to last are known. */
  get complete(): boolean {
    return this.next === null;
  }

  /** Whether there is something to show, be it that there is nothing. */
  get begun(): boolean {
    return this.complete || this.known > 0;
  }

  /** Rows that are known. */
  get known(): number {
    return this.headCount + this.tailCount;
  }

  /** Lines to show: what is known, and the one that stands for the rest. */
  get length(): number {
    return this.known + (this.complete ? 0 : 1);
  }

  /** The line that stands for what was not read; -1 if all was. */
  get gap(): number {
    return this.complete ? -1 : this.headCount;
  }

  /** The row of a line; null while it is not there. */
  row(line: number): Row | null {
    const found = this.locate(line);
    return found ? (found.piece.rows?.[found.offset] ?? null) : null;
  }

  /** Read what the lines `first` to `last` need, and tell of it once that is done. */
  async look(first: number, last: number): Promise<void> {
    this.view = first;
    if (this.rests) {
      return;
    }
    const further = this.gap >= first && this.gap <= last;
    const missing = this.missing(first, last);
    if (further || missing.length) {
      await this.reading(async () => {
        if (further) {
          await this.extend();
        }
        for (const piece of missing) {
          piece.rows = merge(await this.read(piece.at));
          piece.count = piece.rows.length;
        }
        this.forget();
      });
    }
  }

  /** Read the last rows, without all those before them. */
  async toEnd(prefix: string): Promise<void> {
    await this.idle;
    if (!this.complete && !this.tail.length) {
      await this.reading(async () => {
        this.tail = [await this.last(prefix)];
        this.join();
      });
    }
  }

  /** The first known line that `found` holds for; -1 if none. */
  find(found: (row: Row) => boolean): number {
    let line = 0;
    for (const piece of [...this.head, null, ...this.tail]) {
      if (piece === null) {
        line += this.complete ? 0 : 1;
        continue;
      }
      const at = piece.rows?.findIndex(found) ?? -1;
      if (at >= 0) {
        return line + at;
      }
      line += piece.count;
    }
    return -1;
  }

  /** Read nothing more, and tell nobody. */
  close(): void {
    this.closed = true;
    clearTimeout(this.rests);
  }

  /** One reading at a time: whoever comes meanwhile looks again when told. */
  private async reading(work: () => Promise<void>): Promise<void> {
    if (this.busy || this.closed) {
      return;
    }
    let ended = (): void => undefined;
    this.idle = new Promise(done => (ended = done));
    this.busy = true;
    this.changed();
    try {
      await work();
      this.fault = null;
      this.rest = FIRST_REST;
    } catch (error) {
      this.fault = error;
      this.pause(error);
    }
    this.busy = false;
    this.count();
    ended();
    if (!this.closed) {
      this.changed();
    }
  }

  /** Read nothing for a while; for ever if that cannot help. */
  private pause(fault: unknown): void {
    clearTimeout(this.rests);
    const wake = (): void => {
      this.rests = undefined;
      this.changed();
    };
    this.rests = setTimeout(this.passing(fault) ? wake : () => undefined, this.rest);
    this.rest = Math.min(2 * this.rest, LONGEST_REST);
  }

  private async extend(): Promise<void> {
    const at = this.head.length ? { token: this.next ?? undefined } : {};
    const page = await this.read(at);
    const rows = merge(page);
    this.head.push({ at, count: rows.length, rows });
    this.next = page.token;
    this.join();
  }

  /** Make one list of beginning and end, where they have met. */
  private join(): void {
    const first = this.tail[0]?.rows?.[0];
    const end = this.head.at(-1);
    const last = end?.rows?.at(-1);
    if (this.next === null) {
      this.tail = [];
    } else if (first && end?.rows && last && compare(last.key, first.key) >= 0) {
      end.rows = end.rows.filter(row => compare(row.key, first.key) < 0);
      end.count = end.rows.length;
      this.head.push(...this.tail);
      this.tail = [];
      this.next = null;
    }
    this.count();
  }

  /** Search the end between what is known and what no name reaches. */
  private async last(prefix: string): Promise<Piece> {
    let low = this.head.at(-1)?.rows?.at(-1)?.key ?? prefix;
    let high = prefix + FAR;
    for (let tries = 0; tries < 300; tries++) {
      let after = between(low, high);
      if (compare(after, low) <= 0) {
        after = low;
      }
      const page = await this.read({ after });
      const rows = merge(page);
      if (rows.length && page.token === null) {
        return { at: { after }, count: rows.length, rows };
      }
      const end = rows.at(-1);
      if (end && compare(end.key, low) <= 0) {
        throw new Error('This store cannot jump to the end here. Search by the beginning of the name.');
      }
      if (end) {
        low = end.folder ? end.key + FAR : end.key;
      } else if (after === low) {
        break; // things were deleted meanwhile
      } else {
        high = after;
      }
    }
    throw new Error('The end of this list moves: try again.');
  }

  private locate(line: number): { piece: Piece; offset: number } | null {
    let rest = line;
    let pieces = this.head;
    if (line >= this.headCount) {
      rest = line - this.headCount - (this.complete ? 0 : 1);
      pieces = this.tail;
      if (rest < 0) {
        return null;
      }
    }
    for (const piece of pieces) {
      if (rest < piece.count) {
        return { piece, offset: rest };
      }
      rest -= piece.count;
    }
    return null;
  }

  private missing(first: number, last: number): Piece[] {
    const found = new Set<Piece>();
    for (let line = first; line <= last; line++) {
      const piece = this.locate(line)?.piece;
      if (piece && piece.rows === null) {
        found.add(piece);
      }
    }
    return [...found];
  }

  private forget(): void {
    const loaded = this.head.filter(piece => piece.rows);
    if (loaded.length <= KEPT) {
      return;
    }
    const here = this.locate(this.view)?.piece;
    const middle = here ? this.head.indexOf(here) : this.head.length - 1;
    this.head.forEach((piece, i) => {
      // The last one is where the next page is joined on.
      if (Math.abs(i - middle) > KEPT / 3 && i !== this.head.length - 1) {
        piece.rows = null;
      }
    });
  }

  private count(): void {
    const sum = (pieces: Piece[]) => pieces.reduce((all, piece) => all + piece.count, 0);
    this.headCount = sum(this.head);
    this.tailCount = sum(this.tail);
  }

  private head: Piece[] = [];
  private tail: Piece[] = [];
  private next: string | null = '';
  private headCount = 0;
  private tailCount = 0;
  private view = 0;
  private closed = false;
  private rest = FIRST_REST;
  private rests: ReturnType<typeof setTimeout> | undefined;
  private idle: Promise<void> = Promise.resolve();
}
