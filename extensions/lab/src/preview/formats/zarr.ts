import * as zarr from 'zarrita';

import { Format } from '../format';
import { LONGEST_READ } from '../protocol';
import { bytes, cell, cut, Fact, Node, Part, Sheet, Unreadable } from '../sheet';
import { Source } from '../source';

import { corner, valuesTable } from './array';
import { decode } from './text';
import { blosc, inflate, lz4, zstd } from './unpack';

const LARGEST_METADATA = 8 * 2 ** 20;
const LARGEST_CHUNK = 16 * 2 ** 20;
const MOST_CHUNKS = 256;
const MOST_NODES = 2000;

type Json = Record<string, unknown>;

/** A Zarr hierarchy (2 or 3), from one of its metadata objects. */
export const zarrFormat: Format = {
  async read(source: Source): Promise<Sheet> {
    const { key } = source.object;
    const name = key.slice(key.lastIndexOf('/') + 1);
    const own = await metadataOf(source, name);
    const all = await everything(source, name, own);
    const facts: Fact[] = [['Zarr', name === 'zarr.json' ? 'version 3' : 'version 2']];
    const attributes = Object.entries(object(all.get('')?.attributes));
    const parts: Part[] = [];
    const left: string[] = [];
    const nodes = [...all].slice(0, MOST_NODES).map(([path, found]) => node(path, found));
    if (nodes.length) {
      parts.push({ kind: 'tree', title: 'Arrays and groups', nodes });
    }
    if (attributes.length) {
      const rows = attributes.slice(0, 100).map(([one, value]) => [cut(one), cell(value, 1000)]);
      parts.push({ kind: 'table', title: 'Attributes', columns: [{ name: 'name' }, { name: 'value' }], rows });
    }
    if (all.size <= 1 && !isArray(all.get('') ?? {})) {
      left.push('This store has no consolidated metadata: open the metadata of one of its arrays.');
    }
    if (all.size > MOST_NODES) {
      left.push(`Only the first ${MOST_NODES} of ${all.size} entries are listed.`);
    }
    return { format: 'Zarr', facts, parts, left };
  },

  async open(source: Source, path: string): Promise<Part[]> {
    try {
      return [await slice(source, path)];
    } catch (error) {
      if (error instanceof Unreadable) {
        throw error;
      }
      const { message, cause } = error as Error;
      if (cause instanceof Unreadable) {
        throw cause;
      }
      const why = cause instanceof Error ? `${message} (${cause.message})` : message;
      throw new Unreadable(`This array cannot be read: ${cell(why)}`);
    }
  }
};

async function slice(source: Source, path: string): Promise<Part> {
  const store = new Chunks(source);
  // Told which version it is, zarrita does not ask for files of the other.
  const open = source.object.key.endsWith('zarr.json') ? zarr.open.v3 : zarr.open.v2;
  const found = await open(zarr.root(store).resolve(path || '/'), { kind: 'array' });
  const ranges = corner(found.shape);
  const size = found.chunks.reduce((product, side) => product * side, itemSize(found.dtype));
  if (!(size <= LARGEST_CHUNK)) {
    throw new Unreadable(
      `A chunk of this array has ${bytes(size)}; a preview reads chunks of up to ${bytes(LARGEST_CHUNK)}.`
    );
  }
  const chunks = ranges.reduce((product, [, stop], index) => product * Math.ceil(stop / found.chunks[index]), 1);
  if (chunks > MOST_CHUNKS) {
    throw new Unreadable('The chunks of this array are too small for a preview: too many would be read.');
  }
  const selection = ranges.map(([start, stop]) => zarr.slice(start, stop));
  const values = found.shape.length ? await zarr.get(found, selection) : await zarr.get(found);
  const data = (
    typeof values === 'object' && values !== null && 'data' in values ? values.data : [values]
  ) as Iterable<unknown>;
  return valuesTable(path || 'Values', found.shape, [...data]);
}

/** What zarrita reads: objects beside the one that is shown. */
class Chunks implements zarr.AsyncReadable {
  constructor(readonly source: Source) {
    const { key } = source.object;
    this.prefix = key.slice(0, key.lastIndexOf('/') + 1);
  }

  async get(path: zarr.AbsolutePath): Promise<Uint8Array | undefined> {
    const key = this.keyOf(path);
    return (key === null ? null : await this.source.neighbour(key, LONGEST_READ)) ?? undefined;
  }

  async getRange(path: zarr.AbsolutePath, range: zarr.RangeQuery): Promise<Uint8Array | undefined> {
    const key = this.keyOf(path);
    const [offset, length] =
      'suffixLength' in range ? [-range.suffixLength, range.suffixLength] : [range.offset, range.length];
    return (key === null ? null : await this.source.neighbourRange(key, offset, length)) ?? undefined;
  }

  /** What a file names may not lead out of the hierarchy. */
  private keyOf(path: string): string | null {
    return /(^|\/)\.\.?(\/|$)/.test(path) ? null : this.prefix + path.slice(1);
  }

  readonly prefix: string;
}

/** The codecs that come with zarrita make code from texts, which is forbidden here. */
const CODECS: Record<string, (data: Uint8Array<ArrayBuffer>) => Uint8Array | Promise<Uint8Array>> = {
  blosc,
  zstd,
  lz4,
  gzip: data => inflate('gzip', data),
  zlib: data => inflate('deflate', data)
};
for (const [name, decode] of Object.entries(CODECS)) {
  const codec = { kind: 'bytes_to_bytes', fromConfig: () => ({ kind: 'bytes_to_bytes', decode }) };
  for (const alias of [name, `numcodecs.${name}`]) {
    zarr.registry.set(alias, () => Promise.resolve(codec as never));
  }
}

async function metadataOf(source: Source, name: string): Promise<Json> {
  if (source.size > LARGEST_METADATA) {
    throw new Unreadable(`Metadata of more than ${bytes(LARGEST_METADATA)} are not shown.`);
  }
  const found = parse(await source.read(0, source.size));
  if (found === null) {
    throw new Unreadable(`This ${name} is not JSON: it is damaged or cut off.`);
  }
  return found;
}

function parse(data: Uint8Array): Json | null {
  try {
    return object(JSON.parse(decode(data)));
  } catch {
    return null;
  }
}

/** Return the metadata of all that is known of, by path. */
async function everything(source: Source, name: string, own: Json): Promise<Map<string, Json>> {
  if (name === 'zarr.json') {
    const inner = object(object(own.consolidated_metadata).metadata);
    return new Map([['', own], ...Object.entries(inner).map(([path, found]) => [path, object(found)] as const)]);
  }
  const { key } = source.object;
  const beside = async (other: string): Promise<Json> => {
    const found = await source.neighbour(key.slice(0, key.lastIndexOf('/') + 1) + other, LARGEST_METADATA);
    return (found && parse(found)) ?? {};
  };
  const packed = name === '.zmetadata' ? own : name === '.zarray' ? {} : await beside('.zmetadata');
  const all = new Map<string, Json>();
  for (const [path, found] of Object.entries(object(packed.metadata))) {
    const [, place, kind] = /^(?:(.*)\/)?(\.z(?:array|group|attrs))$/s.exec(path) ?? [];
    if (kind) {
      const before = all.get(place ?? '') ?? {};
      all.set(place ?? '', kind === '.zattrs' ? { ...before, attributes: found } : { ...before, ...object(found) });
    }
  }
  if (!all.size) {
    const attributes = name === '.zattrs' ? own : await beside('.zattrs');
    const array = name === '.zarray' ? own : name === '.zattrs' ? await beside('.zarray') : {};
    all.set('', { ...array, attributes });
  }
  return all;
}

function node(path: string, found: Json): Node {
  const attributes = Object.entries(object(found.attributes)).slice(0, 50);
  const facts = attributes.map(([name, value]): Fact => [cut(name), cell(value, 500)]);
  const name = cut(path) || '(root)';
  if (!isArray(found)) {
    return { name, detail: 'group', facts };
  }
  const sides = (Array.isArray(found.shape) ? found.shape : []).slice(0, 32).map(side => cell(side, 20));
  const type = cell(found.data_type ?? found.dtype, 40);
  return { name, detail: `${type} [${sides.join(', ')}]`, facts, open: path };
}

function isArray(found: Json): boolean {
  return Array.isArray(found.shape);
}

function object(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

function itemSize(type: string): number {
  const bits = /(\d+)$/.exec(type)?.[1];
  return bits && /^(u?int|float|complex)/.test(type) ? Number(bits) / 8 : 16;
}
