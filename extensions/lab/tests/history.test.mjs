import assert from 'node:assert/strict';
import { test } from 'node:test';

import { sameTags, tagsOf, versionsOf } from '../lib/storage/panel/facts.js';
import { historyLines, sentence } from '../lib/storage/panel/history.js';

/** What the log holds of an action, as the service answers it. */
function entry(action, detail, more = {}) {
  return {
    id: 1,
    at: '2026-11-28T09:30:00Z',
    actor: 'alice',
    action,
    bucket: 'alice',
    detail: JSON.stringify(detail),
    ...more
  };
}

const SAID = [
  [entry('share', { prefix: 'runs/', mode: 'read', to: 'user bob' }), 'You shared alice/runs/ with bob, to read.'],
  [
    entry('share', { prefix: '', mode: 'read-write', to: 'group the lab', until: '2026-12-28T09:30:00' }),
    'You shared alice/ with group the lab, to read and write, until 2026-12-28 09:30.'
  ],
  [entry('end-share', { prefix: 'runs/', to: 'user bob' }), 'You ended the share of alice/runs/ with bob.'],
  [entry('end-share', { id: '1' }), 'You ended a share of alice.'],
  [
    entry('delete-objects', { objects: 7, first: ['a', 'b', 'c', 'd', 'e'] }, { actor: 'bob' }),
    'bob deleted a, b, c, d, e and 2 more in alice.'
  ],
  [entry('delete-objects', { objects: 2, first: 'a' }), 'You deleted a and 1 more in alice.'],
  [entry('delete', { keys: 1, prefixes: 1, first: ['runs/', 'x'] }), 'You began to delete runs/, x in alice.'],
  [entry('delete', { id: 'an old one' }), 'You began to delete objects in alice.'],
  [
    entry('move', { keys: 1, prefixes: 0, first: ['x'], to: 'bob', prefix: 'in/' }),
    'You began to move x from alice to bob/in/.'
  ],
  [
    entry('issue-keys', { grants: 3, purpose: 'notebook' }),
    'You got keys to alice and 2 more places for a notebook server.'
  ],
  [entry('issue-keys', { grants: 1, purpose: '' }), 'You got keys to alice.'],
  [
    entry('issue-keys', { grants: 1, purpose: 'kernel of a b.ipynb' }),
    'You got keys to alice for the kernel of a b.ipynb.'
  ],
  [entry('revoke-keys', { purpose: 'copies' }), 'You ended keys to alice for copies to and from the home directory.'],
  [entry('keep-key', { access_key: 'AK1' }, { bucket: '' }), 'You entered the key AK1 of the store.'],
  [entry('abort-upload', {}, { actor: 'landbridge' }), 'The gateway threw away an unfinished upload in alice.'],
  [entry('restore', { key: 'a', version: '1' }), 'You made an earlier version of alice/a current again.'],
  [entry('something-new', {}), 'You something-new alice.']
];

test('each action is told in words', () => {
  for (const [what, words] of SAID) {
    assert.equal(sentence(what, 'alice'), words);
  }
});

test('a name in the history hides nothing, and a damaged entry is still told', () => {
  const hidden = entry('delete-objects', { objects: 1, first: ['\u202Egpj.exe\n'] });
  assert.equal(sentence(hidden, 'alice'), 'You deleted ⟨202E⟩gpj.exe␊ in alice.');
  for (const detail of ['', 'no JSON', '[]', 'null', '{"first": [1, null], "objects": "x"}']) {
    assert.match(sentence({ ...entry('delete-objects', {}), detail }, 'alice'), /^You deleted objects in alice\.$/);
  }
});

test('the same thing in a row is one line with the times of both ends', () => {
  const keys = hour =>
    entry('issue-keys', { grants: 1, purpose: 'notebook' }, { id: hour, at: `2026-11-28T0${hour}:00:00Z` });
  const lines = historyLines([keys(9), keys(8), keys(7), entry('create-bucket', {}, { id: 2 }), keys(1)], 'alice');
  assert.deepEqual(
    lines.map(line => [line.id, line.times, line.at.slice(11, 13), line.since.slice(11, 13)]),
    [
      [9, 3, '09', '07'],
      [2, 1, '09', '09'],
      [1, 1, '01', '01']
    ]
  );
});

test('tags need names, each once; lines without words are no tags', () => {
  const row = (name, value) => ({ name, value });
  assert.deepEqual(tagsOf([row('a', '1'), row('', ''), row('b', '')]), { tags: { a: '1', b: '' }, problem: '' });
  assert.match(tagsOf([row('', '1')]).problem, /needs a name/);
  assert.match(tagsOf([row('a', '1'), row('a', '2')]).problem, /two tags a/);
  assert.ok(sameTags({ a: '1', b: '2' }, { b: '2', a: '1' }));
  assert.ok(!sameTags({ a: '1' }, { a: '2' }));
});

test('versions are those of the one key, of all that begin like it', () => {
  const page = {
    versions: [
      { key: 'a', version: '2' },
      { key: 'a', version: '1' },
      { key: 'a.txt', version: '3' }
    ]
  };
  const all = { ...page, key_marker: null, version_marker: null };
  assert.deepEqual(
    versionsOf(all, 'a').versions.map(one => one.version),
    ['2', '1']
  );
  assert.equal(versionsOf({ ...page, key_marker: 'a.txt', version_marker: '3' }, 'a').more, false);
  const cut = { versions: page.versions.slice(0, 2), key_marker: 'a', version_marker: '1' };
  assert.equal(versionsOf(cut, 'a').more, true);
});
