import { ending } from './source';

/** Which script reads which format. Heavy libraries have a script of their own. */
export const SCRIPTS = {
  text: 'light',
  json: 'light',
  csv: 'light',
  image: 'light',
  notebook: 'light',
  safetensors: 'light',
  gguf: 'light',
  netcdf: 'light',
  bytes: 'light',
  parquet: 'parquet',
  arrow: 'arrow',
  zarr: 'zarr',
  hdf5: 'hdf5',
  pdf: 'pdf'
} as const;

export type FormatName = keyof typeof SCRIPTS;
export type ScriptName = (typeof SCRIPTS)[FormatName];

type Magic = [format: FormatName, offset: number, bytes: string];

const MAGIC: Magic[] = [
  ['parquet', 0, 'PAR1'],
  ['arrow', 0, 'ARROW1'],
  ['hdf5', 0, '\x89HDF\r\n\x1a\n'],
  ['netcdf', 0, 'CDF\x01'],
  ['netcdf', 0, 'CDF\x02'],
  ['netcdf', 0, 'CDF\x05'],
  ['gguf', 0, 'GGUF'],
  ['pdf', 0, '%PDF-'],
  ['image', 0, '\x89PNG\r\n\x1a\n'],
  ['image', 0, '\xff\xd8\xff'],
  ['image', 0, 'GIF8'],
  ['image', 8, 'WEBP'],
  ['image', 4, 'ftypavif'],
  ['image', 0, 'BM']
];

const ENDINGS: Record<string, FormatName> = {
  json: 'json',
  geojson: 'json',
  jsonl: 'json',
  ndjson: 'json',
  csv: 'csv',
  tsv: 'csv',
  parquet: 'parquet',
  pq: 'parquet',
  arrow: 'arrow',
  arrows: 'arrow',
  feather: 'arrow',
  ipc: 'arrow',
  svg: 'image',
  png: 'image',
  jpg: 'image',
  jpeg: 'image',
  gif: 'image',
  webp: 'image',
  avif: 'image',
  pdf: 'pdf',
  ipynb: 'notebook',
  h5: 'hdf5',
  hdf5: 'hdf5',
  hdf: 'hdf5',
  nc: 'hdf5',
  nc4: 'hdf5',
  safetensors: 'safetensors',
  gguf: 'gguf'
};
const ZARR = new Set(['zarr.json', '.zgroup', '.zarray', '.zattrs', '.zmetadata']);

/** Decide what an object is: by its first bytes, then its name, then as text or bytes. */
export function formatOf(key: string, head: Uint8Array): FormatName {
  const name = key.slice(key.lastIndexOf('/') + 1);
  if (ZARR.has(name)) {
    return 'zarr';
  }
  const byMagic = MAGIC.find(([, offset, bytes]) => starts(head, offset, bytes));
  if (byMagic && !(byMagic[2] === 'BM' && ending(key) !== 'bmp')) {
    return byMagic[0];
  }
  const byName = ENDINGS[ending(key)];
  return byName ?? (isText(head) ? 'text' : 'bytes');
}

function starts(head: Uint8Array, offset: number, bytes: string): boolean {
  return [...bytes].every((char, index) => head[offset + index] === char.charCodeAt(0));
}

/** Whether bytes look like text in UTF-8 (cut anywhere). */
export function isText(head: Uint8Array): boolean {
  if (head.some(byte => byte < 9 || (byte > 13 && byte < 32 && byte !== 27))) {
    return false;
  }
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(head, { stream: true });
    return true;
  } catch {
    return false;
  }
}
