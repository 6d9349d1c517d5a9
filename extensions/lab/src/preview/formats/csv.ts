import Papa from 'papaparse';

import { Format } from '../format';
import { bytes, cut, many, MOST_COLUMNS, MOST_ROWS, Sheet } from '../sheet';
import { ending, Source } from '../source';

import { decode } from './text';

const MOST = 512 * 1024;

/** A table as text, with any separator: its first rows. */
export const csv: Format = {
  async read(source: Source): Promise<Sheet> {
    const start = await source.start(MOST);
    const isWhole = start.length === source.size;
    const found = Papa.parse<string[]>(decode(start), {
      delimiter: ending(source.object.key) === 'tsv' ? '\t' : '',
      preview: MOST_ROWS + 2,
      skipEmptyLines: true
    });
    const rows = found.data;
    // The last row may be cut off.
    if (!isWhole && rows.length < MOST_ROWS + 2) {
      rows.pop();
    }
    const [names = [], ...rest] = rows;
    const width = Math.max(names.length, ...rest.map(row => row.length));
    const shown = rest.slice(0, MOST_ROWS);
    const left: string[] = [];
    if (shown.length < rest.length || !isWhole) {
      left.push(`Only the first ${many(shown.length, 'row')} are shown.`);
    }
    if (width > MOST_COLUMNS) {
      left.push(`Only the first ${MOST_COLUMNS} of ${many(width, 'column')} are shown.`);
    }
    const columns = Array.from({ length: Math.min(width, MOST_COLUMNS) }, (_, i) => ({ name: cut(names[i] ?? '') }));
    return {
      format: 'Table as text',
      facts: [
        ['Size', bytes(source.size)],
        ['Columns', String(width)],
        ['Separator', found.meta.delimiter === '\t' ? 'tab' : found.meta.delimiter]
      ],
      parts: [
        {
          kind: 'table',
          title: 'First rows',
          columns,
          rows: shown.map(row => row.slice(0, MOST_COLUMNS).map(value => cut(value)))
        }
      ],
      left
    };
  }
};
