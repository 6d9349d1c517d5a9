import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32 as reference } from 'node:zlib';

import { between, compare, Listing, merge } from '../lib/storage/panel/listing.js';
import { crc32, encoded } from '../lib/storage/upload/crc32.js';
import { size, visible } from '../lib/kit/words.js';
import { above, lastPart } from '../lib/storage/objectnames.js';

/** A store with these keys that answers in pages of ten, as S3 does. */
function store(keys) {
  const sorted = [...keys].sort(compare);
  const calls = [];
  const read = async at => {
    calls.push(at);
    const after = at.token ?? at.after;
    const rest = after === undefined ? sorted : sorted.filter(key => compare(key, after) > 0);
    const page = rest.slice(0, 10);
    const objects = page.map(key => ({ key, size: 1, modified: '', etag: '' }));
    return { objects, prefixes: [], token: rest.length > 10 ? page.at(-1) : null };
  };
  return { read, calls, sorted };
}

const NAMES = {
  numbers: Array.from({ length: 500 }, (_, i) => `p/k-${String(i).padStart(6, '0')}`),
  mixed: Array.from({ length: 300 }, (_, i) => `p/${String.fromCodePoint(0x21 + (i % 90))}${i}é`),
  wide: Array.from({ length: 200 }, (_, i) => `p/${String.fromCodePoint(0x4e00 + i * 7)}`),
  high: Array.from({ length: 60 }, (_, i) => `p/${String.fromCodePoint(0x1f300 + i)}`)
};

for (const [kind, keys] of Object.entries(NAMES)) {
  test(`the end of ${kind} is found without reading all`, async () => {
    const { read, calls, sorted } = store(keys);
    const listing = new Listing(read, () => undefined);
    await listing.look(0, 5);
    await listing.toEnd('p/');
    assert.equal(listing.fault, null);
    assert.equal(listing.row(listing.length - 1).key, sorted.at(-1));
    assert.ok(calls.length < 60, `${calls.length} calls`);
  });

  test(`${kind} are all read in order, whatever was jumped over`, async () => {
    const { read, sorted } = store(keys);
    const listing = new Listing(read, () => undefined);
    await listing.look(0, 5);
    await listing.toEnd('p/');
    while (!listing.complete) {
      await listing.look(listing.gap, listing.gap);
    }
    const seen = Array.from({ length: listing.length }, (_, line) => listing.row(line)?.key);
    // What is far from the view was forgotten, and is there when it is looked at.
    for (let line = 0; line < seen.length; line += 10) {
      await listing.look(line, line + 9);
      for (let i = line; i < Math.min(seen.length, line + 10); i++) {
        assert.equal(listing.row(i).key, sorted[i]);
      }
    }
    assert.equal(seen.length, sorted.length);
  });
}

test('a store that answers nonsense ends the jump with words', async () => {
  const read = async () => ({ ...(await store(NAMES.numbers).read({})), token: 'x' });
  const listing = new Listing(read, () => undefined);
  await listing.look(0, 5);
  await listing.toEnd('p/');
  assert.match(String(listing.fault), /cannot jump/);
});

test('texts between others are between them, and hold no slash of their own', () => {
  for (const [low, high] of [
    ['a', 'b'],
    ['a', 'c'],
    ['', '\u{10FFFF}'],
    ['a.', 'a0'],
    ['p/k-0999', 'p/k.']
  ]) {
    const middle = between(low, high);
    assert.ok(compare(middle, low) >= 0 && compare(middle, high) < 0, `${low} ${middle} ${high}`);
  }
});

test('keys are ordered by their bytes', () => {
  const keys = ['\u{1F40D}', '\uFFFD', 'é', 'z', 'Z', 'a/b', 'a', ''];
  const bytes = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  assert.deepEqual([...keys].sort(compare), bytes);
  const page = { objects: [{ key: 'a' }, { key: 'c' }], prefixes: ['b/'], token: null };
  assert.deepEqual(
    merge(page).map(row => row.key),
    ['a', 'b/', 'c']
  );
});

test('checksums are those of zlib, in one piece or many', () => {
  const bytes = Uint8Array.from({ length: 100_003 }, (_, i) => (i * 31) ^ (i >> 3));
  for (const length of [0, 1, 7, 8, 9, 100_003]) {
    assert.equal(crc32(bytes.subarray(0, length)), reference(bytes.subarray(0, length)));
  }
  assert.equal(crc32(bytes.subarray(500), crc32(bytes.subarray(0, 500))), reference(bytes));
  assert.equal(encoded(0x01020304), Buffer.from([1, 2, 3, 4]).toString('base64'));
});

test('names show what hides in them', () => {
  assert.equal(visible('a\u202Eb\n\u200B'), 'a⟨202E⟩b␊⟨200B⟩');
  assert.equal(visible('é 日本 <b>'), 'é 日本 <b>');
  assert.equal(lastPart('a/b/'), 'b/');
  assert.equal(lastPart('a//'), '/');
  assert.equal(above('a/b/'), 'a/');
  assert.equal(above('a/'), '');
  assert.equal(size(999), '999 B');
  assert.equal(size(1.4e6), '1.4 MB');
});

test('a store that is away is not asked without end, and asked again by itself', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { read, calls } = store(NAMES.numbers);
  let away = true;
  const asked = at => (away ? (calls.push(at), Promise.reject(new Error('away'))) : read(at));
  // As the table does it: whatever has changed, it looks again.
  const listing = new Listing(asked, () => void listing.look(0, 5));
  await listing.look(0, 5);
  assert.equal(listing.fault?.message, 'away');
  assert.equal(calls.length, 1);
  t.mock.timers.tick(2000);
  await new Promise(setImmediate);
  assert.equal(calls.length, 2);
  t.mock.timers.tick(3999); // the rest has doubled
  await new Promise(setImmediate);
  assert.equal(calls.length, 2);
  away = false;
  t.mock.timers.tick(1);
  await new Promise(setImmediate);
  assert.equal(listing.fault, null);
  assert.equal(listing.known, 10);
});

test('what no waiting mends is not asked again', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let calls = 0;
  const refused = () => ((calls += 1), Promise.reject(new Error('no')));
  const listing = new Listing(
    refused,
    () => void listing.look(0, 5),
    () => false
  );
  await listing.look(0, 5);
  t.mock.timers.tick(3_600_000);
  await new Promise(setImmediate);
  assert.equal(calls, 1);
});
