// Windows of tables, corners of NetCDF, and how little is read of objects that are large.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { arrow } from '../lib/preview/formats/arrow.js';
import { netcdf } from '../lib/preview/formats/netcdf.js';
import { parquet } from '../lib/preview/formats/parquet.js';
import { Unreadable } from '../lib/preview/sheet.js';

import { part, preview, read } from './preview_source.mjs';

const KIB = 1024;
const MIB = 1024 * KIB;

test('of an object that is much larger, no more is read than is needed', async () => {
  for (const [name, most] of [
    ['large.txt', 256 * KIB],
    ['large.csv', 512 * KIB],
    ['large.jsonl', 2 * MIB],
    ['large.safetensors', 8 * KIB],
    ['large.gguf', MIB],
    // The footer, and the chunks of one row group of 16.
    ['large.parquet', 1.2 * MIB],
    // Some headers, and one batch of 16.
    ['large.arrow', 1.3 * MIB],
    ['large.nc', 64 * KIB],
    ['large.h5', 1.5 * MIB],
    ['large.zarr/zarr.json', 4 * KIB]
  ]) {
    await preview(name, async ({ format, source, told, size }) => {
      const sheet = await format.read(source);
      assert.ok(sheet.parts.length > 0, name);
      // The head of 4 KiB is read for every object, and once more where a format begins.
      assert.ok(told.read <= most + 4 * KIB, `${name}: ${told.read} of ${size}`);
      assert.ok(name.endsWith('.json') || most < size / 7, name);
    });
  }
});

test('what is opened or turned to is read by itself', async () => {
  for (const [name, most, look] of [
    ['large.parquet', 1.2 * MIB, ({ source }) => parquet.page(source, { row: 200_000, column: 0 })],
    ['large.arrow', 1.3 * MIB, ({ source }) => arrow.page(source, { row: 200_000, column: 0 })],
    // 20 rows of 12 values in the first of 16 records; of the other, 16 values far from each other.
    ['large.nc', 48 * KIB, ({ format, source }) => format.open(source, '0')],
    ['large.nc', KIB, ({ format, source }) => format.open(source, '1')],
    ['large.h5', 0.5 * MIB, ({ format, source }) => format.open(source, '/far')],
    // One chunk of 244 million.
    ['large.zarr/zarr.json', 32 * KIB, ({ format, source }) => format.open(source, '')],
    // A shard's index, and one chunk of it.
    ['sharded.zarr/zarr.json', 16 * KIB, ({ format, source }) => format.open(source, 'level')]
  ]) {
    await preview(name, async found => {
      await found.format.read(found.source);
      const before = found.told.read;
      await look(found);
      const more = found.told.read - before;
      assert.ok(more <= most, `${name}: ${more}`);
    });
  }
});

test('a table is turned window by window, across row groups and batches', async () => {
  for (const [name, format, total] of [
    ['small.parquet', parquet, 3000],
    ['small.arrows', arrow, 2800]
  ]) {
    await preview(name, async ({ source }) => {
      await format.read(source);
      const seen = [];
      for (let row = 0; row < total;) {
        const { table } = await format.page(source, { row, column: 0 });
        const { first, count } = table.window.rows;
        assert.deepEqual([first, count], [row, Math.min(100, total - row)], name);
        seen.push(...table.rows.map(one => Number(one[0])));
        row += count;
      }
      assert.deepEqual(
        seen,
        Array.from({ length: total }, (_, index) => index),
        name
      );
      const { table } = await format.page(source, { row: total - 3, column: 0 });
      assert.equal(table.rows.length, 3);
      assert.deepEqual(table.window.rows, {
        first: total - 3,
        count: 3,
        total,
        ...(format === arrow && { isOpen: false })
      });
      await assert.rejects(format.page(source, { row: total, column: 0 }), /This table has 2,8|This table has 3,000/);
    });
  }
});

test('a jump finds its row, and dictionaries are those of its batch', async () => {
  await preview('small.parquet', async ({ source }) => {
    const { table } = await parquet.page(source, { row: 1234, column: 0 });
    assert.deepEqual(table.rows[0], ['1234', '{"a":"1234","b":"b1234"}']);
  });
  await preview('small.arrows', async ({ source }) => {
    await arrow.read(source);
    const { table } = await arrow.page(source, { row: 1234, column: 0 });
    assert.deepEqual(table.rows[0], ['1234', `k${Math.floor(1234 / 7)}`]);
    assert.deepEqual(table.rows[99], ['1333', `k${Math.floor(1333 / 7)}`]);
    assert.equal(table.window.rows.isOpen, true);
  });
  // Not all the way at once, and it says how far.
  await preview('small.arrows', async ({ source }) => {
    await assert.rejects(arrow.page(source, { row: 2700, column: 0 }), /Row 2,701 is too far.*go to row 1,792 first/);
    await arrow.page(source, { row: 1791, column: 0 });
  });
});

test('the rows of one row group or batch are read once', async () => {
  for (const [name, format] of [
    ['large.parquet', parquet],
    ['large.arrow', arrow]
  ]) {
    await preview(name, async ({ source, told }) => {
      await format.read(source);
      const before = told.read;
      const { table } = await format.page(source, { row: 9000, column: 0 });
      assert.equal(table.rows[0][0], '9000');
      assert.equal(told.read, before, name);
    });
  }
});

test('of many columns the first are shown, and others on request', async () => {
  for (const [name, format] of [
    ['wide.parquet', parquet],
    ['wide.arrow', arrow]
  ]) {
    await preview(name, async ({ source }) => {
      const sheet = await format.read(source);
      const { columns, window } = part(sheet, 'Rows');
      assert.deepEqual([columns.length, columns[49].name], [50, 'c49']);
      assert.deepEqual(window.columns, { first: 0, count: 50, total: 300 });
      assert.match(sheet.left.join(' '), /250 columns of 300 are not shown/);
      const { table } = await format.page(source, { row: 2, column: 290 });
      assert.deepEqual(
        table.columns.map(one => one.name),
        Array.from({ length: 10 }, (_, index) => `c${290 + index}`)
      );
      assert.deepEqual(
        table.rows[0],
        Array.from({ length: 10 }, (_, index) => String(292 + index))
      );
      await assert.rejects(format.page(source, { row: 0, column: 300 }), /300 columns/);
    });
  }
});

test('what is too large is passed over and named', async () => {
  await preview('heavy.parquet', async ({ source, told }) => {
    const sheet = await parquet.read(source);
    assert.deepEqual(
      part(sheet, 'Rows').columns.map(one => one.name),
      ['light']
    );
    assert.match(sheet.left.join(' '), /1 column of 2 are not shown.*More than 16.8 MB in this row group: heavy/);
    assert.ok(told.read < 64 * KIB, String(told.read));
  });
  await preview('heavy.arrow', async ({ source, told }) => {
    const sheet = await arrow.read(source);
    const { rows, window } = part(sheet, 'Rows');
    assert.deepEqual([rows.length, window.rows.count], [0, 20]);
    assert.match(sheet.left.join(' '), /rows 1 to 20 cannot be read: it has 21 MB/);
    assert.ok(told.read < 128 * KIB, String(told.read));
    const { table } = await arrow.page(source, { row: 20, column: 0 });
    assert.equal(table.rows[0][1], '0');
  });
});

/** The tables of a NetCDF file's variables, by their names. */
async function variables(name) {
  return preview(name, async ({ source }) => {
    const sheet = await netcdf.read(source);
    assert.deepEqual(sheet.left, [], name);
    const found = part(sheet, 'Variables').nodes.map(async one => [one.name, (await netcdf.open(source, one.open))[0]]);
    return Object.fromEntries(await Promise.all(found));
  });
}

test('classic NetCDF shows a corner of a variable of every type', async () => {
  for (const [version, types] of [
    [1, ['i1', 'i2', 'i4', 'f4', 'f8']],
    [2, ['i1', 'i2', 'i4', 'f4', 'f8']],
    [5, ['i1', 'i2', 'i4', 'f4', 'f8', 'u1', 'u2', 'u4', 'i8', 'u8']]
  ]) {
    const found = await variables(`classic${version}.nc`);
    for (const type of types) {
      const grid = found[`grid_${type}`];
      assert.deepEqual([grid.rows.length, grid.columns.length], [20, 13], type);
      assert.deepEqual(grid.rows[7].slice(0, 3), ['7', '12', '13'], type);
      assert.match(grid.title, /\[0:20, 0:12\]/);
      // Records lie apart from each other, and what was not written is left empty.
      const line = found[`line_${type}`];
      assert.deepEqual(line.rows[3], ['3', '24', '25', '26', '27', '28', '29', '30', '31'], type);
      const isByte = type.endsWith('1'); // has no value for that by default
      const last = isByte
        ? ['4', '32', ...(type === 'i1' ? [33, 34, 35, 36, 37, 38, 39].map(String) : Array(7).fill('255'))]
        : ['4', '32', ...Array(7).fill('')];
      assert.deepEqual(line.rows[4], last, type);
    }
    assert.deepEqual(
      found.odd.rows.map(one => one[1]),
      ['-2', '-1', '0', '1', '2']
    );
    assert.deepEqual(
      found.words.rows.map(one => one[1]),
      ['a', 'bc', 'd', 'é', '']
    );
    assert.deepEqual(found.scalar.rows, [['0', '1.5']]);
    assert.deepEqual(found.own.rows.map(one => one[1]).slice(6, 9), ['6', '7', '']);
    assert.deepEqual(found.cube.rows[19].slice(0, 3), ['19', '304', '305']);
    assert.match(found.cube.title, /\[0, 0:20, 0:12\]/);
  }
  assert.deepEqual((await variables('single.nc')).one.rows[3], ['3', '9', '10', '11']);
  assert.deepEqual((await variables('large.nc')).clock.rows[15], ['15', '7.5']);
});

test('absurd claims end in words, soon and without much memory', async () => {
  const before = process.memoryUsage().rss;
  for (const [name, words] of [
    ['dimensions.claims.nc', /claims 9,223,372,036,854,77\d,\d{3} entries/],
    ['variables.claims.nc', /claims 2,147,483,648 entries/],
    ['rank.claims.nc', /claims 4,611,686,018,427,3\d\d,\d{3} entries/],
    ['cut.nc', /cut off/],
    ['groups.boast.parquet', /claims 2,147,483,647 entries/],
    ['nested.boast.parquet', /claims|nested too deep/],
    ['endless.boast.parquet', /has no end/],
    ['rows.boast.parquet', /claims a row group of 4611686018427387904 rows/],
    ['minus.boast.parquet', /claims a row group of -1 rows/]
  ]) {
    await assert.rejects(read(name), error => error instanceof Unreadable && words.test(error.message), name);
  }
  const sheet = await read('boast.arrows');
  assert.match(sheet.left.join(' '), /A message of it claims more than it has room for/);
  for (const [name, words, refused] of [
    ['records.claims.nc', /claims 9,223,372,036,854,77\d,\d{3} records, and the file has room for 512/, null],
    ['length.claims.nc', /2 variables of it would lie outside the file.*lie where another one is/, '0'],
    ['outside.claims.nc', /1 variable of it would lie outside the file/, '1'],
    ['inside.claims.nc', /1 variable of it would lie outside the file or in its header/, '1'],
    ['overlap.claims.nc', /1 variable of it would lie where another one is/, null]
  ]) {
    await preview(name, async ({ source }) => {
      const sheet = await netcdf.read(source);
      assert.match(sheet.left.join(' '), words, name);
      if (refused === null) {
        assert.ok((await netcdf.open(source, '0'))[0].rows.length > 0);
      } else {
        await assert.rejects(netcdf.open(source, refused), /outside the file/, name);
      }
    });
  }
  assert.ok(process.memoryUsage().rss - before < 100e6);
});
