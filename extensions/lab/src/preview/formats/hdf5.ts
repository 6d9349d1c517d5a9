import * as h5wasm from 'h5wasm';

import { Format } from '../format';
import { bytes, cell, cut, Fact, Node, Part, Sheet, Unreadable } from '../sheet';
import { Source } from '../source';

import { corner, valuesTable } from './array';

const BLOCK = 256 * 1024;
const FIRST = 2 ** 20;
const MOST_ATTEMPTS = 300;
const MOST_NODES = 500;
const DEEPEST = 12;
const MOST_ATTRIBUTES = 30;
const LARGEST_ATTRIBUTE = 65_536;
const LARGEST_CHUNK = 32 * 2 ** 20;
/** Emscripten's number for "input/output error". */
const EIO = 29;

/**
 * HDF5 and NetCDF-4: the tree, attributes, and a corner of a dataset.
 *
 * The HDF5 library reads its file at once, a browser reads ranges later. So the file
 * is made of blocks: where one is missing, the library is told of a failed reading,
 * the block is fetched, and the work is done once more. Metadata of ordinary files lie
 * in few blocks; a file with metadata in very many places ends at the preview's limit.
 */
export const hdf5: Format = {
  async read(source: Source): Promise<Sheet> {
    const file = await Blocks.of(source);
    const budget = { isCut: false };
    const [nodes, attributes] = await file.use(root => {
      let left = MOST_NODES;
      const spend = () => (left -= 1) >= 0;
      return [children(root, spend, DEEPEST, budget, file), attributesOf(root, file)];
    });
    const parts: Part[] = [{ kind: 'tree', title: 'Datasets and groups', nodes }];
    if (attributes.length) {
      parts.push({
        kind: 'table',
        title: 'Attributes',
        columns: [{ name: 'name' }, { name: 'value' }],
        rows: attributes
      });
    }
    const isNetcdf = attributes.some(([name]) => name === '_NCProperties');
    return {
      format: isNetcdf ? 'NetCDF-4 (HDF5)' : 'HDF5',
      facts: [
        ['Size', bytes(source.size)],
        ['Read for this', bytes(file.loaded)]
      ],
      parts,
      left: budget.isCut ? [`Only the first ${MOST_NODES} entries are listed, down to ${DEEPEST} levels.`] : []
    };
  },

  async open(source: Source, path: string): Promise<Part[]> {
    const file = await Blocks.of(source);
    return file.use(root => {
      const found = file.sure(() => root.get(path));
      if (!(found instanceof h5wasm.Dataset)) {
        throw new Unreadable('This is no dataset.');
      }
      const { chunks, size } = found.metadata;
      const chunk = (chunks ?? []).reduce((product, side) => product * side, size);
      if (chunk > LARGEST_CHUNK) {
        throw new Unreadable(`A chunk of this dataset has ${bytes(chunk)}, more than a preview unpacks.`);
      }
      const shape = found.shape ?? [];
      const values = file.sure(() => (shape.length ? found.slice(corner(shape)) : found.value));
      const facts = attributesOf(found, file);
      const parts: Part[] = [valuesTable(path, shape, isList(values) ? values : [values])];
      if (facts.length) {
        const columns = [{ name: 'name' }, { name: 'value' }];
        parts.push({ kind: 'table', title: `Attributes of ${path}`, columns, rows: facts });
      }
      return parts;
    });
  }
};

function isList(value: unknown): value is ArrayLike<unknown> {
  return Array.isArray(value) || ArrayBuffer.isView(value);
}

function children(
  group: h5wasm.Group,
  spend: () => boolean,
  depth: number,
  budget: { isCut: boolean },
  file: Blocks
): Node[] {
  const nodes: Node[] = [];
  for (const name of file.sure(() => group.keys())) {
    if (depth === 0 || !spend()) {
      budget.isCut = true;
      break;
    }
    const found = file.sure(() => group.get(name));
    if (found instanceof h5wasm.Group) {
      nodes.push({ name: cut(name), detail: 'group', children: children(found, spend, depth - 1, budget, file) });
    } else if (found instanceof h5wasm.Dataset) {
      const shape = file.sure(() => found.shape);
      const detail = `${cell(
        file.sure(() => found.dtype),
        60
      )} ${shape?.length ? `[${shape.join(', ')}]` : 'scalar'}`;
      nodes.push({ name: cut(name), detail, open: found.path });
    } else {
      nodes.push({ name: cut(name), detail: 'a link or type' });
    }
  }
  return nodes;
}

function attributesOf(entity: h5wasm.Group | h5wasm.Dataset, file: Blocks): Fact[] {
  const facts: Fact[] = [];
  for (const [name, attribute] of Object.entries(file.sure(() => entity.attrs)).slice(0, MOST_ATTRIBUTES)) {
    const { size, total_size } = attribute.metadata;
    const isSmall = size * total_size <= LARGEST_ATTRIBUTE;
    facts.push([
      cut(name),
      isSmall
        ? cell(
            file.maybe(() => attribute.json_value),
            500
          )
        : '(too large to show)'
    ]);
  }
  return facts;
}

/** A file of HDF5's library whose blocks are fetched when they are first missed. */
class Blocks {
  /** Return the file of a source; its blocks stay. */
  static async of(source: Source): Promise<Blocks> {
    const found = Blocks.files.get(source) ?? Blocks.make(source);
    Blocks.files.set(source, found);
    return found;
  }

  private static readonly files = new WeakMap<Source, Promise<Blocks>>();
  private static count = 0;

  private static async make(source: Source): Promise<Blocks> {
    const { FS } = await h5wasm.ready;
    const blocks = new Blocks(source);
    await blocks.load(0, Math.min(FIRST, source.size));
    FS.writeFile(blocks.name, new Uint8Array(0));
    const node = FS.lookupPath(blocks.name, {}).node as unknown as Record<string, unknown>;
    Object.defineProperty(node, 'usedBytes', { get: () => source.size });
    node.stream_ops = {
      ...(node.stream_ops as object),
      read: (_: unknown, heap: Uint8Array, at: number, length: number, position: number): number => {
        const found = blocks.copy(heap, at, length, position);
        if (found === null) {
          throw new (FS as unknown as { ErrnoError: new (number: number) => Error }).ErrnoError(EIO);
        }
        return found;
      }
    };
    return blocks;
  }

  private constructor(readonly source: Source) {}

  private readonly name = `/${(Blocks.count += 1)}.h5`;
  /** Bytes that were fetched. */
  loaded = 0;

  /** Do something with the open file, as often as it takes until no block is missing. */
  async use<T>(work: (root: h5wasm.File) => T): Promise<T> {
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt += 1) {
      this.missing = null;
      const result = this.attempt(work);
      if (this.missing === null) {
        return result as T;
      }
      const start = this.missing * BLOCK;
      await this.load(start, Math.min(BLOCK, this.source.size - start));
    }
    throw new Unreadable('What describes this file lies in too many places for a preview.');
  }

  /** Return what a library call answers; whatever goes wrong, told in our words. */
  sure<T>(call: () => T): T {
    try {
      const found = call();
      if (this.missing === null) {
        return found;
      }
    } catch (error) {
      if (error instanceof Unreadable) {
        throw error;
      }
    }
    throw new Unreadable('This file is damaged or cut off, or uses what the library here cannot read.');
  }

  /** The same, where a damaged value spoils nothing else. */
  maybe<T>(call: () => T): T | null {
    try {
      return this.sure(call);
    } catch (error) {
      if (this.missing !== null) {
        throw error;
      }
      return null;
    }
  }

  private attempt<T>(work: (root: h5wasm.File) => T): T | undefined {
    let file: h5wasm.File | null = null;
    try {
      file = new h5wasm.File(this.name, 'r');
      if (file.file_id < 0n) {
        throw new Unreadable('This is no HDF5, or it is damaged or cut off.');
      }
      return work(file);
    } catch (error) {
      if (this.missing !== null) {
        return undefined;
      }
      throw error instanceof Unreadable ? error : new Unreadable(`HDF5: ${cell((error as Error).message)}`);
    } finally {
      if (file !== null && file.file_id >= 0n) {
        file.close();
      }
    }
  }

  private copy(heap: Uint8Array, at: number, length: number, position: number): number | null {
    const end = Math.min(position + length, this.source.size);
    for (let offset = position; offset < end;) {
      const index = Math.floor(offset / BLOCK);
      const block = this.blocks.get(index);
      if (block === undefined) {
        this.missing = index;
        return null;
      }
      const piece = block.subarray(offset - index * BLOCK, end - index * BLOCK);
      heap.set(piece, at + offset - position);
      offset += piece.length;
    }
    return Math.max(0, end - position);
  }

  private async load(start: number, length: number): Promise<void> {
    const data = await this.source.read(start, length);
    this.loaded += length;
    for (let offset = 0; offset < length; offset += BLOCK) {
      this.blocks.set((start + offset) / BLOCK, data.subarray(offset, offset + BLOCK));
    }
  }

  private readonly blocks = new Map<number, Uint8Array>();
  private missing: number | null = null;
}
