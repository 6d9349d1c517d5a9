// Sources of the files that tests/extensions/lab/{preview,large}_files.py make.
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { arrow } from '../lib/preview/formats/arrow.js';
import { csv } from '../lib/preview/formats/csv.js';
import { gguf } from '../lib/preview/formats/gguf.js';
import { hdf5 } from '../lib/preview/formats/hdf5.js';
import { image } from '../lib/preview/formats/image.js';
import { json } from '../lib/preview/formats/json.js';
import { netcdf } from '../lib/preview/formats/netcdf.js';
import { notebook } from '../lib/preview/formats/notebook.js';
import { parquet } from '../lib/preview/formats/parquet.js';
import { safetensors } from '../lib/preview/formats/safetensors.js';
import { hex, text } from '../lib/preview/formats/text.js';
import { zarrFormat } from '../lib/preview/formats/zarr.js';
import { formatOf } from '../lib/preview/registry.js';
import { Source } from '../lib/preview/source.js';

const FILES = process.env.PREVIEW_FILES;
const FORMATS = {
  arrow,
  csv,
  gguf,
  hdf5,
  image,
  json,
  netcdf,
  notebook,
  parquet,
  safetensors,
  text,
  bytes: hex,
  zarr: zarrFormat
};
export const HEAD = 4096;

/** A source of a file that counts what is read of it, and may claim another size. */
async function sourceOf(name, claimed) {
  const path = join(FILES, name);
  const file = await open(path);
  const { size } = await file.stat();
  const head = new Uint8Array(HEAD);
  const { bytesRead } = await file.read(head, 0, HEAD, 0);
  const object = { bucket: 'b', key: name, size: claimed ?? size, type: '', etag: '' };
  // The frame reads the head before the format is known.
  const told = { read: bytesRead };
  const fetch = async (offset, length, neighbour, isPart) => {
    if (neighbour !== undefined) {
      const found = await readFile(join(FILES, neighbour)).then(
        all => new Uint8Array(all),
        () => null
      );
      const sent = found && (isPart ? found.slice(offset).slice(0, length) : found).buffer;
      told.read += sent?.byteLength ?? 0;
      return sent;
    }
    const data = new Uint8Array(length);
    const done = await file.read(data, 0, length, offset);
    told.read += done.bytesRead;
    return data.buffer.slice(0, done.bytesRead);
  };
  const source = new Source(object, head.subarray(0, bytesRead), true, fetch);
  return { source, told, size, format: FORMATS[formatOf(name, source.head)], close: () => file.close() };
}

export async function preview(name, look, claimed) {
  const found = await sourceOf(name, claimed);
  try {
    return await look(found);
  } finally {
    await found.close();
  }
}

export const read = (name, claimed) => preview(name, ({ format, source }) => format.read(source), claimed);
export const facts = sheet => Object.fromEntries(sheet.facts);
export const part = (sheet, title) => sheet.parts.find(one => one.title === title);
