import { Unreadable } from '../sheet';

const DEEPEST = 24;
const LONGEST_NUMBER = 10;

/**
 * Refuse what a footer or page header of Parquet claims and cannot hold: lists longer
 * than their bytes, numbers without end, structures without bottom. The library makes
 * room for a list before it reads it. (Thrift's "compact protocol" specification.)
 */
export function judgeThrift(data: Uint8Array, start: number, end: number): void {
  struct({ data, at: start, end }, DEEPEST);
}

interface Cursor {
  data: Uint8Array;
  at: number;
  end: number;
}

function struct(cursor: Cursor, depth: number): void {
  for (;;) {
    const head = byte(cursor);
    if ((head & 15) === 0) {
      return;
    }
    if (head >> 4 === 0) {
      number(cursor);
    }
    element(cursor, head & 15, depth);
  }
}

function element(cursor: Cursor, type: number, depth: number): void {
  switch (type) {
    case 1: // true and false are in the field's own head
    case 2:
      return;
    case 3:
      return skip(cursor, 1);
    case 4:
    case 5:
    case 6:
      number(cursor);
      return;
    case 7:
      return skip(cursor, 8);
    case 8:
      return skip(cursor, number(cursor));
    case 9:
      return list(cursor, deeper(depth));
    case 12:
      return struct(cursor, deeper(depth));
    default:
      throw new Unreadable('it is damaged');
  }
}

function list(cursor: Cursor, depth: number): void {
  const head = byte(cursor);
  const count = head >> 4 === 15 ? number(cursor) : head >> 4;
  const type = head & 15;
  if (count > cursor.end - cursor.at) {
    throw new Unreadable(`it claims ${count.toLocaleString('en-US')} entries of a kind, more than it has room for`);
  }
  for (let index = 0; index < count; index += 1) {
    element(cursor, type < 3 ? 3 : type, depth);
  }
}

function byte(cursor: Cursor): number {
  skip(cursor, 1);
  return cursor.data[cursor.at - 1];
}

function number(cursor: Cursor): number {
  let value = 0;
  for (let index = 0; index < LONGEST_NUMBER; index += 1) {
    const next = byte(cursor);
    value += (next & 127) * 128 ** index;
    if (next < 128) {
      return value;
    }
  }
  throw new Unreadable('a number in it has no end');
}

function skip(cursor: Cursor, length: number): void {
  cursor.at += length;
  if (cursor.at > cursor.end) {
    throw new Unreadable('it is cut off');
  }
}

function deeper(depth: number): number {
  if (depth === 0) {
    throw new Unreadable('it is nested too deep');
  }
  return depth - 1;
}
