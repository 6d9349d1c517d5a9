import { cell, Part } from '../sheet';

/** Sides of the corner that is shown of an array's last two dimensions. */
export const CORNER = [20, 12];

/** Return what to read of an array: the first index of all dimensions but the last two. */
export function corner(shape: readonly number[]): [start: number, stop: number][] {
  return shape.map((side, index) => {
    const fromEnd = shape.length - index;
    const most = fromEnd === 1 && shape.length === 1 ? 100 : fromEnd <= 2 ? CORNER[2 - fromEnd] : 1;
    return [0, Math.min(side, most)];
  });
}

/** Return a corner's values, which lie row by row, as a table. */
export function valuesTable(title: string, shape: readonly number[], values: ArrayLike<unknown>): Part {
  const ranges = corner(shape);
  const width = shape.length >= 2 ? ranges[ranges.length - 1][1] : 1;
  const height = shape.length === 0 ? 1 : shape.length === 1 ? ranges[0][1] : ranges[ranges.length - 2][1];
  const columns = [{ name: '' }];
  for (let column = 0; column < width; column += 1) {
    columns.push({ name: shape.length >= 2 ? String(column) : 'value' });
  }
  const rows: string[][] = [];
  for (let row = 0; row < height; row += 1) {
    const line = Array.from({ length: width }, (_, column) => number(values[row * width + column]));
    rows.push([String(row), ...line]);
  }
  return { kind: 'table', title: `${title}${told(shape, ranges)}`, columns, rows };
}

function told(shape: readonly number[], ranges: [number, number][]): string {
  const isAll = ranges.every(([, stop], index) => stop === shape[index]);
  if (isAll || !shape.length) {
    return '';
  }
  const words = ranges.map(([, stop], index) => (stop === shape[index] ? ':' : stop === 1 ? '0' : `0:${stop}`));
  return ` [${words.join(', ')}]`;
}

function number(value: unknown): string {
  return typeof value === 'number' && !Number.isInteger(value) ? String(Number(value.toPrecision(7))) : cell(value);
}
