import { FileMetaData, parquetMetadata, SchemaElement } from 'hyparquet';

import { Format } from '../format';
import { bytes, cell, cut, Fact, many, Node, Page, Part, Place, Sheet, Unreadable } from '../sheet';
import { Source } from '../source';

import { Rows } from './parquetrows';
import { judgeThrift } from './thrift';

const LONGEST_FOOTER = 12 * 2 ** 20;
const MOST_LISTED = 2000;

/** A Parquet file: its schema, and its rows window by window. */
export const parquet: Format = {
  async read(source: Source): Promise<Sheet> {
    const rows = await opened(source);
    const { metadata } = rows;
    const groups = metadata.row_groups;
    const facts: Fact[] = [
      ['Size', bytes(source.size)],
      ['Rows', metadata.num_rows.toLocaleString('en-US')],
      ['Row groups', groups.length.toLocaleString('en-US')],
      ['Written by', cut(metadata.created_by ?? 'unknown')]
    ];
    const codecs = new Set(groups[0]?.columns.map(column => column.meta_data?.codec ?? '?') ?? []);
    if (codecs.size) {
      facts.push(['Compression', [...codecs].join(', ')]);
    }
    const parts: Part[] = [{ kind: 'tree', title: 'Schema', nodes: schemaOf(metadata.schema) }];
    const left: string[] = [];
    if (rows.total > 0 && rows.columns.length > 0) {
      const page = await rows.page({ row: 0, column: 0 });
      parts.unshift(page.table);
      left.push(...page.left);
    } else {
      left.push('The table has no rows.');
    }
    return { format: 'Parquet table', facts, parts, left: [...left, ...saidOf(rows)] };
  },

  async page(source: Source, place: Place): Promise<Page> {
    const rows = await opened(source);
    const page = await rows.page(place);
    return { ...page, left: [...page.left, ...saidOf(rows)] };
  }
};

/** Return the rows of a source; its footer is read once. */
function opened(source: Source): Promise<Rows> {
  const found = files.get(source) ?? footer(source).then(metadata => new Rows(source, metadata));
  files.set(source, found);
  return found;
}

const files = new WeakMap<Source, Promise<Rows>>();

/** Say what is wrong or too much, whatever rows are shown. */
function saidOf({ metadata, total }: Rows): string[] {
  const left: string[] = [];
  if (metadata.num_rows !== BigInt(total)) {
    const claimed = metadata.num_rows.toLocaleString('en-US');
    left.push(`Its footer claims ${claimed} rows in all, and ${many(total, 'row')} in its row groups: it is damaged.`);
  }
  if (metadata.schema.length > MOST_LISTED) {
    left.push(`Only the first ${MOST_LISTED} of ${many(metadata.schema.length, 'field')} are listed.`);
  }
  return left;
}

/** Read the footer, which says where everything is. */
async function footer(source: Source): Promise<FileMetaData> {
  if (source.size < 12) {
    throw new Unreadable('This file is too short for Parquet: it is cut off.');
  }
  const end = await source.read(source.size - 8, 8);
  const view = new DataView(end.buffer, end.byteOffset, 8);
  if (view.getUint32(4, true) !== 0x31524150) {
    throw new Unreadable('This file does not end as Parquet does: it is cut off, still being written, or encrypted.');
  }
  const length = view.getUint32(0, true) + 8;
  if (length > source.size) {
    throw new Unreadable('Its footer claims to be longer than the file: it is damaged.');
  }
  if (length > LONGEST_FOOTER) {
    throw new Unreadable(`Its footer has ${bytes(length)}; a preview reads up to ${bytes(LONGEST_FOOTER)}.`);
  }
  const data = await source.read(source.size - length, length);
  try {
    judgeThrift(data, 0, data.length - 8);
    return parquetMetadata(data.slice().buffer);
  } catch (error) {
    throw new Unreadable(`Its footer cannot be read: ${cell((error as Error).message)}.`);
  }
}

/** Turn the flat list of the schema, which counts children, into a tree. */
function schemaOf(elements: SchemaElement[]): Node[] {
  let next = 1;
  const take = (count: number, depth: number): Node[] => {
    const nodes: Node[] = [];
    while (nodes.length < count && next < Math.min(elements.length, MOST_LISTED) && depth < 50) {
      const element = elements[next];
      next += 1;
      const logical = element.logical_type?.type ?? element.converted_type;
      const words = [element.type?.toLowerCase(), logical?.toLowerCase(), element.repetition_type?.toLowerCase()];
      const children = element.num_children ? take(element.num_children, depth + 1) : undefined;
      nodes.push({ name: cut(element.name), detail: words.filter(Boolean).join(', '), children });
    }
    return nodes;
  };
  return take(elements[0]?.num_children ?? 0, 0);
}
