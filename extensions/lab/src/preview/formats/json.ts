import { Format } from '../format';
import { bytes, cell, cut, Fact, many, MOST_ROWS, Node, Sheet } from '../sheet';
import { ending, Source } from '../source';

import { decode } from './text';

const MOST = 2 * 2 ** 20;
const SHOWN_TEXT = 64 * 1024;
const DEEPEST = 12;
const MOST_CHILDREN = 200;
const MOST_NODES = 3000;

/** JSON as a tree; JSON Lines as its first records. Too large or cut off: as text. */
export const json: Format = {
  async read(source: Source): Promise<Sheet> {
    const start = await source.start(MOST);
    const facts: Fact[] = [['Size', bytes(source.size)]];
    const text = decode(start);
    const isWhole = start.length === source.size;
    if (['jsonl', 'ndjson'].includes(ending(source.object.key))) {
      return lines(text, isWhole, facts);
    }
    const value = isWhole ? parse(text) : NOTHING;
    if (value === NOTHING) {
      const why = isWhole
        ? 'This is not JSON, or it is cut off. It is shown as text.'
        : `It is too large to be shown as a tree: JSON has to be read whole, and this has ${bytes(source.size)}.`;
      const shown = text.slice(0, SHOWN_TEXT);
      const left = [why];
      if (shown.length < text.length || !isWhole) {
        left.push(`Only the first ${bytes(shown.length)} are shown.`);
      }
      return { format: 'JSON', facts, parts: [{ kind: 'text', title: 'Text', text: shown }], left };
    }
    const budget = { nodes: MOST_NODES, isCut: false };
    const nodes = children(value, DEEPEST, budget);
    const left = budget.isCut ? ['Long lists, deep branches and long texts are cut.'] : [];
    const parts: Sheet['parts'] = nodes.length
      ? [{ kind: 'tree', title: 'Content', nodes }]
      : [{ kind: 'text', title: 'Content', text: cut(text, 2000) }];
    return { format: 'JSON', facts, parts, left };
  }
};

const NOTHING = Symbol('no JSON');

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return NOTHING;
  }
}

function lines(text: string, isWhole: boolean, facts: Fact[]): Sheet {
  const all = text.split('\n');
  if (!isWhole) {
    all.pop(); // cut off
  }
  const texts = all.filter(line => line.trim());
  const shown = texts.slice(0, MOST_ROWS).map((line, index) => [String(index + 1), cut(line, 2000)]);
  const left: string[] = [];
  if (shown.length < texts.length || !isWhole) {
    left.push(`Only the first ${many(shown.length, 'record')} are shown.`);
  }
  return {
    format: 'JSON Lines',
    facts,
    parts: [{ kind: 'table', title: 'Records', columns: [{ name: '' }, { name: 'record' }], rows: shown }],
    left
  };
}

function children(value: unknown, depth: number, budget: { nodes: number; isCut: boolean }): Node[] {
  if (typeof value !== 'object' || value === null) {
    return [];
  }
  const entries = Array.isArray(value) ? value.map((one, index) => [String(index), one]) : Object.entries(value);
  const shown = entries.slice(0, MOST_CHILDREN);
  budget.isCut ||= shown.length < entries.length;
  const nodes: Node[] = [];
  for (const [name, inner] of shown as [string, unknown][]) {
    budget.nodes -= 1;
    if (budget.nodes < 0 || depth === 0) {
      budget.isCut = true;
      break;
    }
    nodes.push(node(name, inner, depth, budget));
  }
  return nodes;
}

function node(name: string, value: unknown, depth: number, budget: { nodes: number; isCut: boolean }): Node {
  if (typeof value !== 'object' || value === null) {
    const text = value === null ? 'null' : cell(value, 1000);
    budget.isCut ||= text.endsWith('…');
    return { name: cut(name), detail: typeof value === 'string' ? `"${text}"` : text };
  }
  const count = Array.isArray(value) ? value.length : Object.keys(value).length;
  const detail = Array.isArray(value) ? `list of ${count}` : many(count, 'field');
  return { name: cut(name), detail, children: children(value, depth - 1, budget) };
}
