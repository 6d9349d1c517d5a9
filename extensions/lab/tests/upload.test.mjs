import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { Refused } from '../lib/gateway/refused.js';
import { reach } from '../lib/storage/api.js';
import { Queue } from '../lib/storage/upload/queue.js';
import { BROKEN, browserWith, MEGABYTE, PART, refusing, Store } from './upload_store.mjs';

const ME = { user: 'alice', path: '/s3/' };
const PARTS = 3;
const bytes = Buffer.alloc(PARTS * PART - MEGABYTE, 'some content, ');

/** Keeps what the queue wants kept, as the browser's database would. */
class Keeper {
  kept = new Map();
  async all(user) {
    return [...this.kept.values()].filter(one => one.user === user).map(one => structuredClone(one));
  }
  async put(items) {
    items.forEach(({ handle: _, ...item }) => this.kept.set(item.id, structuredClone(item)));
  }
  async drop(ids) {
    ids.forEach(id => this.kept.delete(id));
  }
}

let store, keeper, queue, told;

function newQueue() {
  queue = new Queue(store.api, ME, (_bucket, key) => told.push(key), keeper);
  return queue;
}

beforeEach(() => {
  store = new Store();
  keeper = new Keeper();
  told = [];
  browserWith(store);
  newQueue();
});

const file = (content = bytes, name = 'big.bin') => new File([content], name, { lastModified: 7 });
const item = () => [...queue.items.values()][0];
const ended = () => until(() => !['waiting', 'sending'].includes(item().state) && !item().stop);

async function until(fact) {
  while (!fact()) {
    await new Promise(setImmediate);
  }
}

async function give(content = bytes, name = 'big.bin') {
  await queue.add('alice', '', [{ file: file(content, name), name }]);
}

/** Resolve once a PUT of this part is at the store, which waits for `go`. */
function holding(part) {
  let go;
  const held = new Promise(done => (go = done));
  const there = new Promise(done => {
    store.hook = async (when, name) => {
      if (when === 'sent' && name.endsWith(`#${part}`)) {
        done();
        await held;
      }
    };
  });
  return { there, go };
}

function assertWhole(content = bytes, name = 'big.bin') {
  assert.equal(item().state, 'done');
  assert.equal(item().problem, '');
  assert.ok(store.objects.get(name).equals(content));
  assert.deepEqual([store.uploads.size, keeper.kept.size], [0, 0]);
  assert.deepEqual(told, [name]);
}

for (const [what, answer] of [
  ['broken network', BROKEN],
  ['500', refusing(500, 'InternalError')],
  ['URL that has expired', refusing(403, 'AccessDenied')],
  ['session that has expired', refusing(400, 'ExpiredToken')],
  ['damage on the way', refusing(400, 'BadDigest')]
]) {
  test(`a part goes again after a ${what}, by a new URL, and the others do not`, async () => {
    store.fault = (name, tried) => (name.endsWith('#2') && tried <= 2 ? answer : null);
    await give();
    await ended();
    assertWhole();
    assert.deepEqual(
      [1, 2, 3].map(n => store.puts.filter(one => one.endsWith(`#${n}`)).length),
      [1, 3, 1]
    );
    assert.equal(store.asked.filter(path => path === 'uploads/urls').length, 5);
  });

  test(`a small file goes again after a ${what}`, async () => {
    store.fault = (_name, tried) => (tried <= 2 ? answer : null);
    await give(Buffer.from('small'), 'small.txt');
    await ended();
    assertWhole(Buffer.from('small'), 'small.txt');
    assert.equal(store.asked.filter(path => path === 'urls/upload').length, 3);
  });
}

test('while it is tried again it says why, and no longer once it goes on', async () => {
  const said = [];
  store.fault = (_name, tried) => (tried === 1 ? BROKEN : null);
  store.hook = async when => when === 'before' && said.push(item().problem);
  await give(Buffer.from('small'), 'small.txt');
  await ended();
  assert.deepEqual(said, ['', 'The connection to the store broke. It is tried again.']);
  assertWhole(Buffer.from('small'), 'small.txt');
});

test('a store that stays away fails the upload; going on sends only what is missing', async () => {
  store.fault = name => (name.endsWith('#3') ? BROKEN : null);
  await give();
  await ended();
  assert.equal(item().state, 'failed');
  assert.equal(item().problem, 'The connection to the store broke.');
  assert.equal(store.objects.size, 0);
  assert.equal(keeper.kept.size, 1);
  store.fault = () => null;
  store.puts = [];
  await queue.resumeAll();
  await ended();
  assertWhole();
  assert.deepEqual(
    store.puts.map(one => one.split('#')[1]),
    ['3']
  );
});

test('what will not pass fails at once, and ends the other parts', async () => {
  store.fault = name => (name.endsWith('#1') ? refusing(400, 'EntityTooLarge') : null);
  await give();
  await ended();
  assert.equal(item().state, 'failed');
  assert.equal(item().problem, 'The store answered 400 EntityTooLarge.');
  assert.equal(store.puts.filter(one => one.endsWith('#1')).length, 1);
});

test('a store that takes all and answers nothing is told of, and asked again', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  store.fault = (name, tried) => (name.endsWith('#1') && tried === 1 ? refusing(200, 'SILENT') : null);
  await give();
  await until(() => store.puts.length === PARTS);
  t.mock.timers.tick(10_000);
  assert.equal(item().problem, 'The store does not answer. Waiting for it.');
  t.mock.timers.tick(110_000);
  await ended();
  assertWhole();
  assert.equal(store.puts.filter(one => one.endsWith('#1')).length, 2);
});

test('paused in the middle it sends nothing, and goes on where it was', async () => {
  const { there, go } = holding(2);
  await give();
  await there;
  await until(() => store.puts.length === 2);
  queue.pause(item().kept.id);
  go();
  await ended();
  assert.equal(item().state, 'paused');
  assert.equal(store.objects.size, 0);
  store.puts = [];
  await queue.resume(item().kept.id);
  await ended();
  assertWhole();
  assert.deepEqual(
    store.puts.map(one => one.split('#')[1]),
    ['2']
  );
});

test('removed in the middle nothing of it is left', async () => {
  const { there, go } = holding(2);
  await give();
  await there;
  const { id } = item().kept;
  const removed = queue.remove(id);
  go();
  await removed;
  assert.deepEqual([store.uploads.size, store.objects.size, keeper.kept.size, queue.items.size], [0, 0, 0, 0]);
});

test('removed while it was just beginning, nothing of it is left', async () => {
  let removed;
  store.hook = async (when, name) => {
    if (when === 'after' && name === 'uploads') {
      removed = queue.remove(item().kept.id);
    }
  };
  await give();
  await until(() => removed);
  await removed;
  assert.deepEqual([store.uploads.size, keeper.kept.size, store.puts.length], [0, 0, 0]);
});

test('a small file that was removed while its URL was asked for is not sent', async () => {
  let removed;
  store.hook = async (when, name) => {
    if (when === 'after' && name === 'urls/upload') {
      removed = queue.remove(item().kept.id);
    }
  };
  await give(Buffer.from('small'), 'small.txt');
  await until(() => removed);
  await removed;
  assert.deepEqual([store.puts.length, store.objects.size, keeper.kept.size], [0, 0, 0]);
});

const lost = () => {
  throw new Refused('The gateway does not answer.', 0);
};

test('an end whose answer was lost is asked for again, and is no conflict', async () => {
  let turns = 0;
  store.hook = async (when, name) => when === 'after' && name === 'uploads/complete' && turns++ === 0 && lost();
  await give();
  await ended();
  assertWhole();
  assert.equal(store.asked.filter(path => path === 'uploads/complete').length, 2);
});

test('an end that worked, and of which the page never heard, is found when it goes on', async () => {
  let away = false;
  store.hook = async (when, name) => {
    away ||= when === 'after' && name === 'uploads/complete';
    if (away) {
      lost();
    }
  };
  await give();
  await ended();
  assert.equal(item().state, 'failed');
  assert.equal(item().problem, 'The gateway does not answer.');
  store.hook = async () => undefined;
  store.puts = [];
  await newQueue().load(); // after a reload
  assert.equal(item().state, 'needs-file');
  assert.equal(await queue.rejoin([{ file: file(), name: 'big.bin' }]), 1);
  await ended();
  assertWhole();
  assert.deepEqual(store.puts, []);
});

test('parts that the store has thrown away meanwhile are all sent again', async () => {
  let thrown = 0;
  store.hook = async (when, name) => {
    if (when === 'sent' && name.endsWith('#3') && thrown++ === 0) {
      store.uploads.clear();
    }
  };
  await give();
  await ended();
  assertWhole();
});

test('what is there already is replaced only when asked to', async () => {
  const before = Buffer.from('before');
  store.objects.set('big.bin', before);
  await give();
  await ended();
  assert.equal(item().state, 'exists');
  await queue.resumeAll(); // is no word to replace
  assert.equal(item().state, 'exists');
  assert.equal(store.objects.get('big.bin'), before);
  await queue.resume(item().kept.id, true);
  await ended();
  assertWhole();
});

test('what has come there while it was sent is not replaced either', async () => {
  store.hook = async (when, name) => when === 'sent' && name.endsWith('#3') && store.objects.set('big.bin', 'theirs');
  await give();
  await ended();
  assert.equal(item().state, 'exists');
  assert.equal(store.objects.get('big.bin'), 'theirs');
});

/** What the browser has kept hold of; the keeper above cannot. */
function handle(current, permission = 'granted') {
  const held = { getFile: async () => current, queryPermission: async () => permission };
  held.requestPermission = async () => 'granted';
  keeper.all = async () => [...keeper.kept.values()].map(one => ({ ...one, handle: held }));
}

async function interrupted() {
  store.fault = name => (name.endsWith('#3') ? BROKEN : null);
  await give();
  await ended();
  store.fault = () => null;
  store.puts = [];
}

test('after a reload a handle that may be read goes on by itself', async () => {
  await interrupted();
  handle(file());
  await newQueue().load();
  await ended();
  assertWhole();
  assert.equal(store.puts.length, 1);
});

test('after a reload a handle that must be asked for goes on by a click', async () => {
  await interrupted();
  handle(file(), 'prompt');
  await newQueue().load();
  assert.equal(item().state, 'paused');
  await queue.resume(item().kept.id);
  await ended();
  assertWhole();
});

for (const [permission, what] of [
  ['granted', 'by itself'],
  ['prompt', 'by a click']
]) {
  test(`a file that has changed since is never mixed with what has arrived: ${what}`, async () => {
    await interrupted();
    handle(new File([Buffer.alloc(bytes.length, 'other')], 'big.bin', { lastModified: 8 }), permission);
    await newQueue().load();
    await queue.resume(item().kept.id);
    assert.equal(item().state, 'failed');
    assert.match(item().problem, /has changed/);
    assert.deepEqual([store.puts.length, store.objects.size], [0, 0]);
  });
}

test('many files wait for their turn, and one that fails stops no other', async () => {
  store.fault = name => (name === 'b-3' ? refusing(400, 'EntityTooLarge') : null);
  const some = Array.from({ length: 12 }, (_, i) => ({ file: file(Buffer.from(`${i}`), `b-${i}`), name: `b-${i}` }));
  await queue.add('alice', '', some);
  const sending = () => [...queue.items.values()].filter(one => one.state === 'sending').length;
  assert.ok(sending() <= 3);
  await until(() => [...queue.items.values()].every(one => ['done', 'failed'].includes(one.state)));
  assert.equal(store.objects.size, 11);
  queue.clear();
  assert.deepEqual(
    [...queue.items.values()].map(one => one.kept.name),
    ['b-3']
  );
});

test('a signed URL is for the host that shows the panel, a page of the service for its own', () => {
  const pages = 'https://storage--service.hub.example/services/storage/';
  const me = { ...ME, pages };
  const object = { url: 'https://nobody.example/s3/alice/a%20b?X-Amz-Signature=1' };
  assert.equal(reach(me, object), `${globalThis.window.location.origin}/s3/alice/a%20b?X-Amz-Signature=1`);
  assert.equal(reach(me, { url: `${pages}content?key=a` }), `${pages}content?key=a`);
  const together = { url: 'https://nobody.example/services/storage/content?key=a' };
  assert.equal(reach(ME, together), `${globalThis.window.location.origin}/services/storage/content?key=a`);
  assert.equal(reach({ ...ME, path: '' }, object), object.url);
});
