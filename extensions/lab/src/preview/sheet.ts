export { count as many, size as bytes } from '../kit/words';

/** What a format's module tells of an object: data only, drawn by `draw.ts`. */
export interface Sheet {
  /** What the object is, in words. */
  format: string;
  facts: Fact[];
  parts: Part[];
  /** What is not shown, and why: whole sentences. */
  left: string[];
}

export type Fact = [name: string, value: string];

export type Part =
  | { kind: 'text'; title: string; text: string }
  | Table
  | { kind: 'tree'; title: string; nodes: Node[] }
  | { kind: 'picture'; title: string; bytes: Uint8Array<ArrayBuffer>; type: string }
  | { kind: 'drawing'; title: string; svg: string }
  | { kind: 'bitmap'; title: string; bitmap: ImageBitmap; text: string }
  | { kind: 'markup'; title: string; html: string };

export interface Table {
  kind: 'table';
  title: string;
  columns: Column[];
  rows: string[][];
  /** Of a table that is shown window by window: what this is of it. */
  window?: Window;
}

export interface Column {
  name: string;
  type?: string;
}

export interface Window {
  rows: Span;
  columns: Span;
}

/** So many, from one that is counted from 0. */
export interface Span {
  first: number;
  count: number;
  total: number;
  /** There may be more than `total`: the end was not seen yet. */
  isOpen?: boolean;
}

/** Where a window of a table shall begin, counted from 0. */
export interface Place {
  row: number;
  column: number;
}

/** A window of a table, and what is not shown now: whole sentences. */
export interface Page {
  table: Table;
  left: string[];
}

/** Something in a file that has parts: a group, a dataset, a tensor. */
export interface Node {
  name: string;
  detail: string;
  facts?: Fact[];
  children?: Node[];
  /** If its content can be shown: what to ask the format's `open` for. */
  open?: string;
}

/** An object that cannot be shown, in words for its reader. */
export class Unreadable extends Error {}

/** Texts longer than this are cut. */
export const LONGEST_CELL = 200;
export const MOST_ROWS = 100;
export const MOST_COLUMNS = 100;
/** Columns of a table that is shown window by window. */
export const COLUMNS_AT_ONCE = 50;

/** Return `text` cut to `most` characters, with a mark. */
export function cut(text: string, most = LONGEST_CELL): string {
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

/** Return a value of any kind as a cell's text. */
export function cell(value: unknown, most = LONGEST_CELL): string {
  if (value === null || value === undefined) {
    return '';
  }
  if (typeof value === 'string') {
    return cut(value, most);
  }
  if (value instanceof Date) {
    return Number.isNaN(value.getTime()) ? 'no date' : value.toISOString();
  }
  if (ArrayBuffer.isView(value)) {
    const view = value as unknown as ArrayLike<unknown>;
    const shown = Array.from({ length: Math.min(view.length ?? 0, 20) }, (_, index) => String(view[index]));
    return cut(`[${shown.join(', ')}${(view.length ?? 0) > 20 ? ', …' : ''}]`, most);
  }
  if (typeof value === 'object') {
    return cut(shallow(value), most);
  }
  return cut(String(value), most);
}

function shallow(value: object): string {
  let left = 500;
  // Stops once enough is written, however much there is.
  const text = JSON.stringify(value, (_, inner: unknown) => {
    left -= 1;
    if (left < 0) {
      return undefined;
    }
    return typeof inner === 'bigint' ? inner.toString() : inner;
  });
  return text ?? '';
}
