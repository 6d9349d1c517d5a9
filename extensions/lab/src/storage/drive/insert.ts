// Code that reads an object, by what its name says it is. Keys come from the notebook
// server's environment, so nothing but the address is in it.

/** The library that fits a name's ending, most special first. */
const READERS: [ending: RegExp, code: (url: string) => string[]][] = [
  [/\.(parquet|pq)$/i, url => ['import pandas as pd', '', `df = pd.read_parquet(${url})`, 'df.head()']],
  [/\.(csv|csv\.gz|csv\.zst)$/i, url => ['import pandas as pd', '', `df = pd.read_csv(${url})`, 'df.head()']],
  [/\.(tsv|tsv\.gz)$/i, url => ['import pandas as pd', '', `df = pd.read_csv(${url}, sep="\\t")`, 'df.head()']],
  [/\.(jsonl|ndjson)$/i, url => ['import pandas as pd', '', `df = pd.read_json(${url}, lines=True)`, 'df.head()']],
  [/\.(xlsx|xls|ods)$/i, url => ['import pandas as pd', '', `df = pd.read_excel(${url})`, 'df.head()']],
  [/\.(feather|arrow|ipc)$/i, url => ['import pandas as pd', '', `df = pd.read_feather(${url})`, 'df.head()']],
  [/\.arrows$/i, url => opened(url, 'import pyarrow.ipc', 'table = pyarrow.ipc.open_stream(file).read_all()', 'table')],
  [/\.orc$/i, url => ['import pandas as pd', '', `df = pd.read_orc(${url})`, 'df.head()']],
  [/\.zarr\/$/i, url => ['import xarray as xr', '', `ds = xr.open_zarr(${url})`, 'ds']],
  [/(^|\/)(zarr\.json|\.zgroup|\.zarray|\.zmetadata|\.zattrs)$/, url => zarr(url)],
  [/\.(nc|nc4|cdf)$/i, url => opened(url, 'import xarray as xr', 'ds = xr.open_dataset(file).load()', 'ds')],
  [/\.(h5|hdf5|hdf)$/i, url => opened(url, 'import h5py', 'with h5py.File(file) as tree:\n        tree.visit(print)')],
  [/\.npy$/i, url => opened(url, 'import numpy as np', 'array = np.load(file)', 'array.shape')],
  [/\.npz$/i, url => opened(url, 'import numpy as np', 'arrays = dict(np.load(file))', 'list(arrays)')],
  [
    /\.safetensors$/i,
    url => opened(url, 'import safetensors.numpy', 'tensors = safetensors.numpy.load(file.read())', 'list(tensors)')
  ],
  [
    /\.(png|jpe?g|gif|webp|bmp|tiff?)$/i,
    url => opened(url, 'from PIL import Image', 'image = Image.open(file).copy()', 'image')
  ],
  [/\.(json|geojson|ipynb)$/i, url => opened(url, 'import json', 'data = json.load(file)', 'data')],
  [
    /\.(txt|md|log|py|yaml|yml|toml|html|xml|svg)$/i,
    url => opened(url, '', 'text = file.read().decode()', 'print(text[:1000])')
  ],
  [/\.lance\/$/i, url => ['import lance', '', `ds = lance.dataset(${url})`, 'ds.schema']],
  [/\/$/, url => ['import fsspec', '', `fs, path = fsspec.url_to_fs(${url})`, 'fs.ls(path)']]
];

/** Return Python that reads an object, or all under a key that ends in "/". */
export function insertable(bucket: string, key: string): string {
  const url = `s3://${bucket}/${key}`;
  // What S3's URLs cannot say byte by byte is asked for by bucket and key.
  if (!isPlain(key)) {
    return [
      'import boto3',
      '',
      's3 = boto3.client("s3")',
      `data = s3.get_object(Bucket=${quoted(bucket)}, Key=${quoted(key)})["Body"].read()`
    ].join('\n');
  }
  const found = READERS.find(([ending]) => ending.test(key));
  return (found ? found[1](quoted(url)) : opened(quoted(url), '', 'data = file.read()', 'len(data)')).join('\n');
}

function opened(url: string, library: string, line: string, last = ''): string[] {
  const imports = library ? ['import fsspec', library] : ['import fsspec'];
  return [...imports, '', `with fsspec.open(${url}, "rb") as file:`, `    ${line}`, ...(last ? [last] : [])];
}

function zarr(url: string): string[] {
  const root = url.replace(/[^/]*"$/, '').replace(/\/$/, '');
  return ['import zarr', '', `group = zarr.open(${root}", mode="r")`, 'group.info'];
}

/** Whether clients that take URLs and paths read this key as it is. */
function isPlain(key: string): boolean {
  const parts = key.split('/');
  const isOdd = parts.some((part, index) => part === '.' || part === '..' || (part === '' && index < parts.length - 1));
  return !isOdd && !/[\p{Cc}\p{Cs}?#*[\]{}%\\]/u.test(key) && !key.includes('::');
}

/** Return a Python literal of any text. */
export function quoted(text: string): string {
  const inner = text.replace(/[\\"\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, char => {
    if (char === '\\' || char === '"') {
      return `\\${char}`;
    }
    const code = char.codePointAt(0) ?? 0;
    return code > 0xffff ? `\\U${code.toString(16).padStart(8, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
  });
  return `"${inner}"`;
}
