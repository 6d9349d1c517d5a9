import assert from 'node:assert/strict';
import { test } from 'node:test';

import { OPERATIONS } from '../lib/gateway/generated/storage.js';
import { Refused } from '../lib/gateway/refused.js';
import { rest } from '../lib/gateway/rest.js';

/** Return a client and what it sent. */
function recorded() {
  const sent = [];
  const ask = rest(OPERATIONS, async (...request) => (sent.push(request), { ok: true }));
  return { ask, sent };
}

test('a call is sent by the method and path of the document', async () => {
  const { ask, sent } = recorded();
  assert.deepEqual(await ask('show_me'), { ok: true });
  await ask('measure_bucket', { path: { bucket: 'a/b c' } });
  await ask('create_bucket', { body: { name: 'mine' } });
  assert.deepEqual(sent, [
    ['GET', 'me', undefined],
    ['GET', 'buckets/a%2Fb%20c/usage', undefined],
    ['POST', 'buckets', { name: 'mine' }]
  ]);
});

test('of a query, what is not given is left out, and the rest is as it is', async () => {
  const { ask, sent } = recorded();
  await ask('list_objects', { query: { bucket: 'b', prefix: '', token: null, start_after: undefined, limit: 0 } });
  await ask('head_object', { query: { bucket: 'b', key: 'a+b &?#%/é' } });
  assert.deepEqual(
    sent.map(([, path]) => path),
    ['objects?bucket=b&limit=0', 'objects/head?bucket=b&key=a%2Bb%20%26%3F%23%25%2F%C3%A9']
  );
});

test('a name that no address can hold is refused before anything is sent', async () => {
  const { ask, sent } = recorded();
  await assert.rejects(
    ask('head_object', { query: { bucket: 'b', key: '\ud800' } }),
    error => error instanceof Refused && error.code === 'key-refused'
  );
  assert.deepEqual(sent, []);
});
