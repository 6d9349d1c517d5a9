import { marked } from 'marked';

import { Format } from '../format';
import { bytes, cut, Fact, many, Part, Sheet, Unreadable } from '../sheet';
import { Source } from '../source';

import { measure } from './image';
import { decode, whole } from './text';

const MOST = 12 * 2 ** 20;
const MOST_CELLS = 200;
const MOST_OUTPUTS = 20;
const LONGEST_TEXT = 20_000;
const MOST_PIXELS = 20_000_000;

type Json = Record<string, unknown>;

/** A notebook as it was saved. Its HTML is cleaned where it is drawn; nothing runs. */
export const notebook: Format = {
  async read(source: Source): Promise<Sheet> {
    const content = parse(decode(await whole(source, MOST, 'Notebooks')));
    const cells = list(content.cells).map(object);
    if (!('cells' in content)) {
      throw new Unreadable('This is no notebook of version 4.');
    }
    const kernel = object(object(content.metadata).kernelspec);
    const facts: Fact[] = [
      ['Size', bytes(source.size)],
      ['Cells', String(cells.length)]
    ];
    if (typeof kernel.display_name === 'string') {
      facts.push(['Kernel', cut(kernel.display_name)]);
    }
    const left: string[] = [];
    if (cells.length > MOST_CELLS) {
      left.push(`Only the first ${MOST_CELLS} of ${many(cells.length, 'cell')} are shown.`);
    }
    const parts = cells.slice(0, MOST_CELLS).flatMap(one => partsOf(one, left));
    return { format: 'Notebook', facts, parts, left: [...new Set(left)] };
  }
};

function parse(text: string): Json {
  try {
    return object(JSON.parse(text));
  } catch {
    throw new Unreadable('This notebook is not JSON: it is damaged or cut off.');
  }
}

function object(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Return a text that nbformat may have split into lines. */
function joined(value: unknown, left: string[]): string {
  const text = Array.isArray(value) ? value.filter(one => typeof one === 'string').join('') : value;
  if (typeof text !== 'string') {
    return '';
  }
  if (text.length > LONGEST_TEXT) {
    left.push('Long texts are cut.');
  }
  return text.slice(0, LONGEST_TEXT);
}

function partsOf(one: Json, left: string[]): Part[] {
  const text = joined(one.source, left);
  if (one.cell_type === 'markdown') {
    return [{ kind: 'markup', title: 'Text', html: marked.parse(text, { async: false }) }];
  }
  const count = typeof one.execution_count === 'number' ? ` [${one.execution_count}]` : '';
  const parts: Part[] = [{ kind: 'text', title: one.cell_type === 'code' ? `Code${count}` : 'Raw', text }];
  const outputs = list(one.outputs).map(object);
  if (outputs.length > MOST_OUTPUTS) {
    left.push('Not all outputs are shown.');
  }
  return parts.concat(outputs.slice(0, MOST_OUTPUTS).flatMap(output => outputOf(output, left)));
}

function outputOf(output: Json, left: string[]): Part[] {
  if (output.output_type === 'stream') {
    return [{ kind: 'text', title: 'Output', text: plain(joined(output.text, left)) }];
  }
  if (output.output_type === 'error') {
    const trace = list(output.traceback).filter(line => typeof line === 'string');
    return [{ kind: 'text', title: 'Error', text: plain(joined(trace.join('\n'), left)) }];
  }
  const data = object(output.data);
  for (const type of ['image/png', 'image/jpeg', 'image/gif']) {
    if (typeof data[type] === 'string' || Array.isArray(data[type])) {
      return picture(data[type], left);
    }
  }
  if (data['image/svg+xml'] !== undefined) {
    return [{ kind: 'drawing', title: 'Drawing', svg: joined(data['image/svg+xml'], left) }];
  }
  if (data['text/html'] !== undefined) {
    return [{ kind: 'markup', title: 'Output', html: joined(data['text/html'], left) }];
  }
  if (data['text/markdown'] !== undefined) {
    const html = marked.parse(joined(data['text/markdown'], left), { async: false });
    return [{ kind: 'markup', title: 'Output', html }];
  }
  if (data['text/plain'] !== undefined) {
    return [{ kind: 'text', title: 'Output', text: joined(data['text/plain'], left) }];
  }
  left.push(`Outputs of other kinds are not shown: ${cut(Object.keys(data).join(', '), 100)}.`);
  return [];
}

function picture(value: unknown, left: string[]): Part[] {
  const text = (Array.isArray(value) ? value.join('') : String(value)).replace(/\s/g, '');
  try {
    const data = Uint8Array.from(atob(text), char => char.charCodeAt(0));
    const found = measure(data);
    if (found !== null && found.width * found.height <= MOST_PIXELS) {
      return [{ kind: 'picture', title: 'Output', bytes: data, type: found.type }];
    }
  } catch {
    // Told below: it is not base64.
  }
  left.push('A picture could not be shown.');
  return [];
}

/** Return text without the codes by which terminals colour it. */
function plain(text: string): string {
  return text.replace(/\x1b\[[0-9;]*[A-Za-z]/g, '');
}
