import assert from 'node:assert/strict';
import { test } from 'node:test';

import { freeName, hasPath, mayWrite, pathOf, spotOf, viewOf } from '../lib/storage/drive/paths.js';
import { insertable, quoted } from '../lib/storage/drive/insert.js';

test('a path names a bucket and a key, and back', () => {
  assert.equal(spotOf(''), null);
  assert.deepEqual(spotOf('alice'), { bucket: 'alice', key: '' });
  assert.deepEqual(spotOf('/alice/a/b c.txt'), { bucket: 'alice', key: 'a/b c.txt' });
  assert.equal(pathOf('alice', 'a/b/'), 'alice/a/b');
});

test('a key that a path cannot express has none, rather than another', () => {
  for (const key of ['a', 'a/b', 'a/', 'a b', 'a%2Fb', 'a\\b', 'é', 'a:b', '...']) {
    assert.ok(hasPath(key), key);
  }
  for (const key of ['/a', 'a//b', 'a//', '.', '..', 'a/../b', './a', '../', 'a\nb', '\ud800']) {
    assert.ok(!hasPath(key), JSON.stringify(key));
  }
});

test('what leads to a shared prefix is shown as folders', () => {
  const rights = [
    { name: 'alice', prefix: '', mode: 'read-write' },
    { name: 'lab', prefix: 'runs/2026/', mode: 'read' },
    { name: 'lab', prefix: 'out-', mode: 'read-write' }
  ];
  assert.deepEqual(viewOf(rights, { bucket: 'alice', key: 'x' }), { prefix: 'x/' });
  assert.deepEqual(viewOf(rights, { bucket: 'lab', key: '' }), { prefix: 'out-' });
  assert.deepEqual(viewOf(rights.slice(0, 2), { bucket: 'lab', key: '' }), { folders: ['runs/'] });
  assert.deepEqual(viewOf(rights, { bucket: 'lab', key: 'runs/2026' }), { prefix: 'runs/2026/' });
  assert.equal(viewOf(rights, { bucket: 'lab', key: 'other' }), null);
  assert.equal(viewOf(rights, { bucket: 'bob', key: '' }), null);
  assert.ok(mayWrite(rights, 'lab', 'out-1') && !mayWrite(rights, 'lab', 'runs/2026/x'));
});

test('new names are free ones', () => {
  assert.equal(freeName('a.txt', new Set()), 'a.txt');
  assert.equal(freeName('a.txt', new Set(['a.txt', 'a1.txt'])), 'a2.txt');
  assert.equal(freeName('a.txt', new Set(['a.txt']), '-Copy'), 'a-Copy1.txt');
});

test('code reads an object with the library that fits', () => {
  for (const [key, words] of [
    ['t/x.parquet', 'pd.read_parquet("s3://alice/t/x.parquet")'],
    ['x.csv', 'pd.read_csv('],
    ['x.zarr/', 'xr.open_zarr("s3://alice/x.zarr/")'],
    ['x.zarr/zarr.json', 'zarr.open("s3://alice/x.zarr", mode="r")'],
    ['x.h5', 'h5py.File(file)'],
    ['x.nc', 'xr.open_dataset(file)'],
    ['x.unknown', 'fsspec.open('],
    ['a//b.csv', 'Key="a//b.csv"'],
    ['100%.csv', 'Key="100%.csv"']
  ]) {
    assert.ok(insertable('alice', key).includes(words), insertable('alice', key));
  }
});

test('a name stays a text, whatever is in it', () => {
  assert.equal(quoted('a"\\\n\u202e\ud83d\ude00é'), '"a\\"\\\\\\u000a\\u202e😀é"');
  const code = insertable('alice', 'x"); import os; os.system("id").csv');
  assert.ok(code.includes('\\"); import os; os.system(\\"id\\")'), code);
});
