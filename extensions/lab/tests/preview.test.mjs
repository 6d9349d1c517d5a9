import assert from 'node:assert/strict';
import { test } from 'node:test';

import { hdf5 } from '../lib/preview/formats/hdf5.js';
import { text } from '../lib/preview/formats/text.js';
import { zarrFormat } from '../lib/preview/formats/zarr.js';
import { formatOf } from '../lib/preview/registry.js';
import { Source } from '../lib/preview/source.js';

import { facts, HEAD, part, preview, read } from './preview_source.mjs';

test('what an object is, is told by its first bytes, then its name', () => {
  const bytes = words => Uint8Array.from(words, char => char.charCodeAt(0));
  for (const [key, head, format] of [
    ['x', 'PAR1....', 'parquet'],
    ['a.txt', '\x89HDF\r\n\x1a\n', 'hdf5'],
    ['a/b.zarr/zarr.json', '{', 'zarr'],
    ['zarr.json.txt', '{', 'text'],
    ['a.ipynb', '{', 'notebook'],
    ['BM.txt', 'BMW is a car', 'text'],
    ['x.html', '<script>', 'text'],
    ['x', '\0\x01', 'bytes'],
    ['dir.png/', 'words', 'text']
  ]) {
    assert.equal(formatOf(key, bytes(head)), format, key);
  }
});

test('tables show their first rows and say what they left out', async () => {
  for (const codec of ['snappy', 'zstd', 'gzip']) {
    const sheet = await read(`${codec}.parquet`);
    assert.equal(facts(sheet).Rows, '2,000');
    const { columns, rows, window } = part(sheet, 'Rows');
    assert.deepEqual(
      columns.map(one => one.name),
      ['id', 'name', 'value', 'tags', 'when', 'kind']
    );
    assert.deepEqual(rows[7], ['7', 'row 7', '1', '["a"]', '1970-01-01T00:00:00.007Z', 'k1']);
    assert.equal(rows.length, 100);
    assert.deepEqual(window.rows, { first: 0, count: 100, total: 2000 });
  }
  for (const name of ['table.arrow', 'lz4.arrow', 'zstd.arrow']) {
    const sheet = await read(name);
    const expected = ['7', 'row 7', '1', '["a"]', '1970-01-01T00:00:00.007Z', 'k1'];
    assert.deepEqual(part(sheet, 'Rows').rows[7], expected, name);
  }
  assert.deepEqual(part(await read('table.csv'), 'First rows').rows, [
    ['Berlin', '3755251'],
    ['Oslo', '709037']
  ]);
});

test('HDF5 is read by blocks: tree, attributes, and a corner of a dataset', async () => {
  await preview('grid.h5', async ({ source, told, size }) => {
    const sheet = await hdf5.read(source);
    const [far, late, measured] = part(sheet, 'Datasets and groups').nodes;
    assert.deepEqual([far.name, late.children[0].name, measured.children[0].name], ['far', 'label', 'level']);
    assert.deepEqual(part(sheet, 'Attributes').rows, [['title', '<b>grid</b>']]);
    const [values, attributes] = await hdf5.open(source, measured.children[0].open);
    assert.deepEqual(values.rows[2].slice(0, 3), ['2', '180', '181']);
    assert.deepEqual(attributes.rows, [['units', 'm']]);
    assert.equal((await hdf5.open(source, '/late/label'))[0].rows[0][1], 'a text at the end');
    assert.ok(told.read < size / 2, `${told.read} of ${size}`);
  });
});

test('Zarr of both versions shows its arrays', async () => {
  for (const name of ['v2.zarr/.zgroup', 'v2.zarr/.zmetadata', 'v3.zarr/zarr.json', 'sharded.zarr/zarr.json']) {
    await preview(name, async ({ source }) => {
      const sheet = await zarrFormat.read(source);
      assert.deepEqual(part(sheet, 'Attributes').rows, [['title', 'grid']], name);
      const level = part(sheet, 'Arrays and groups').nodes.find(one => one.name === 'level');
      const [values] = await zarrFormat.open(source, level.open);
      assert.deepEqual(values.rows[2].slice(0, 3), ['2', '180', '181']);
    });
  }
});

test('headers of models and classic NetCDF', async () => {
  const tensors = await read('w.safetensors');
  assert.equal(facts(tensors).Parameters, '10,890');
  const model = await read('model.gguf');
  assert.deepEqual(part(model, 'Metadata').rows[0], ['general.name', 'tiny model']);
  assert.equal(part(model, 'Tensors').nodes[0].detail, 'F16 64 × 32');
  const tides = await read('tides.nc');
  assert.deepEqual(part(tides, 'Dimensions').rows, [['time', '3']]);
  assert.equal(part(tides, 'Variables').nodes[0].detail, 'float (time = 3)');
});

test('JSON is a tree, and a notebook its cells', async () => {
  const [name, levels] = part(await read('data.json'), 'Content').nodes;
  assert.deepEqual([name.detail, levels.detail, levels.children.length], ['"tides"', 'list of 3', 3]);
  assert.equal(part(await read('lines.jsonl'), 'Records').rows.length, 2);
  const book = await read('book.ipynb');
  assert.deepEqual(
    book.parts.map(one => one.kind),
    ['markup', 'text', 'text', 'markup']
  );
});

test('damaged, cut off and boasting files end in words', async () => {
  for (const [name, words] of [
    ['cut.parquet', /cut off/],
    ['fake.parquet', /cut off/],
    ['fake.arrow', /damaged/],
    ['fake.h5', /damaged/],
    ['cut.gguf', /ends before/],
    ['claims.gguf', /1,099,511,627,776 tensors/],
    ['claims.nc', /2,147,483,648 entries/],
    ['claims.safetensors', /more than the file has/],
    ['huge.png', /60000 × 60000 pixels/]
  ]) {
    await assert.rejects(
      read(name),
      error => error.constructor.name === 'Unreadable' && words.test(error.message),
      name
    );
  }
  for (const name of ['deep.json', 'cut.json']) {
    assert.match((await read(name)).left[0], /not JSON/);
  }
});

test('a page that would unpack to a hundred megabytes is not unpacked', async () => {
  const before = process.memoryUsage().rss;
  const sheet = await read('bomb.parquet');
  assert.match(sheet.left.join(' '), /claims 160,0\d\d,\d{3} bytes unpacked/);
  assert.equal(part(sheet, 'Schema').nodes[0].name, 'zeros');
  assert.ok(process.memoryUsage().rss - before < 100e6);
});

test('an object that is said to be larger than it is', async () => {
  for (const name of ['zstd.parquet', 'grey.png', 'data.json', 'w.safetensors']) {
    await preview(
      name,
      async ({ format, source }) => {
        await assert.rejects(format.read(source), /sent less|cut off|ends/, name);
      },
      10_000
    ).catch(error => {
      assert.match(String(error), /Missing expected rejection/); // w.safetensors: its header is there
      assert.equal(name, 'w.safetensors');
    });
  }
});

test('of a large text only the beginning is read', async () => {
  const told = [];
  const object = { bucket: 'b', key: 'x.log', size: 5e12, type: '', etag: '' };
  const source = new Source(object, new Uint8Array(HEAD).fill(65), false, async (offset, length) => {
    told.push(length);
    return new ArrayBuffer(length);
  });
  const sheet = await text.read(source);
  assert.match(sheet.left[0], /first 262 kB/);
  assert.ok(told.reduce((sum, one) => sum + one, 0) < 2 ** 20);
});
