import { Format } from '../format';
import { bytes, cell, cut, Fact, many, Node, Sheet, Unreadable } from '../sheet';
import { Source } from '../source';

import { decode } from './text';

const LONGEST_HEADER = 8 * 2 ** 20;
const MOST_TENSORS = 2000;

interface Tensor {
  dtype?: unknown;
  shape?: unknown;
  data_offsets?: unknown;
}

/**
 * The header of a safetensors file: 8 bytes of its length, then JSON that names each
 * tensor's type, shape and place (https://github.com/huggingface/safetensors).
 */
export const safetensors: Format = {
  async read(source: Source): Promise<Sheet> {
    if (source.size < 8) {
      throw new Unreadable('This file is too short for safetensors.');
    }
    const first = await source.read(0, 8);
    const length = new DataView(first.buffer, first.byteOffset).getBigUint64(0, true);
    if (length > BigInt(source.size - 8)) {
      throw new Unreadable(`Its header claims ${length.toLocaleString('en-US')} bytes, more than the file has.`);
    }
    if (length > BigInt(LONGEST_HEADER)) {
      throw new Unreadable(`Its header has ${bytes(Number(length))}; a preview reads up to ${bytes(LONGEST_HEADER)}.`);
    }
    const header = parse(decode(await source.read(8, Number(length))));
    const { __metadata__: metadata, ...tensors } = header;
    const entries = Object.entries(tensors);
    const facts: Fact[] = [
      ['Size', bytes(source.size)],
      ['Tensors', entries.length.toLocaleString('en-US')],
      ['Parameters', entries.reduce((sum, [, tensor]) => sum + count(tensor), 0).toLocaleString('en-US')]
    ];
    const left = ['The tensors themselves are not read.'];
    const wrong = entries.filter(([, tensor]) => !isInside(tensor, source.size - 8 - Number(length)));
    if (wrong.length) {
      left.push(`${many(wrong.length, 'tensor')} of it would lie outside the file: it is cut off or damaged.`);
    }
    if (entries.length > MOST_TENSORS) {
      left.push(`Only the first ${MOST_TENSORS} tensors are listed.`);
    }
    const nodes = entries.slice(0, MOST_TENSORS).map(([name, tensor]) => node(name, tensor));
    const parts: Sheet['parts'] = [{ kind: 'tree', title: 'Tensors', nodes }];
    const told = Object.entries(Object(metadata ?? {}) as object).slice(0, 50);
    if (told.length) {
      const rows = told.map(([name, value]) => [cut(name), cell(value)]);
      parts.unshift({ kind: 'table', title: 'Metadata', columns: [{ name: 'name' }, { name: 'value' }], rows });
    }
    return { format: 'safetensors', facts, parts, left };
  }
};

function parse(text: string): Record<string, Tensor> {
  try {
    const found: unknown = JSON.parse(text);
    if (typeof found === 'object' && found !== null && !Array.isArray(found)) {
      return found as Record<string, Tensor>;
    }
  } catch {
    // Told below.
  }
  throw new Unreadable('Its header is not the JSON that it should be: the file is damaged, or is no safetensors.');
}

function shape(tensor: Tensor): number[] {
  const found = Array.isArray(tensor?.shape) ? tensor.shape : [];
  return found.slice(0, 16).map(Number);
}

function count(tensor: Tensor): number {
  return shape(tensor).reduce((product, side) => product * side, 1) || 0;
}

function isInside(tensor: Tensor, space: number): boolean {
  const [start, end] = Array.isArray(tensor?.data_offsets) ? tensor.data_offsets.map(Number) : [NaN, NaN];
  return start >= 0 && start <= end && end <= space;
}

function node(name: string, tensor: Tensor): Node {
  return { name: cut(name), detail: `${cell(tensor?.dtype, 20)} ${shape(tensor).join(' × ') || 'scalar'}` };
}
