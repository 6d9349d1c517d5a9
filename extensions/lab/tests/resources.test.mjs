import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createElement } from 'react';
import { renderToStaticMarkup } from 'react-dom/server';

import { Refused } from '../lib/gateway/refused.js';
import { ask } from '../lib/kit/resources/check.js';
import { draftOf } from '../lib/kit/resources/draft.js';
import { ResourceForm } from '../lib/kit/resources/form.js';

const refusing = error => () => Promise.reject(error);

test('a choice that may be had is told in words', async () => {
  const asked = [];
  const said = await ask(async choice => (asked.push(choice), '4 CPUs, 2 h'), { cpus: 4 });
  assert.deepEqual(said, { summary: '4 CPUs, 2 h', errors: {}, other: '' });
  assert.deepEqual(asked, [{ cpus: 4 }]);
});

test('a refusal stands beside its field, once, with what to try', async () => {
  const error = new Refused('cpus: must be at most 64', 400, 'refused', 'Ask for fewer.', 'cpus');
  assert.deepEqual(await ask(refusing(error), {}), {
    summary: '',
    errors: { cpus: 'Must be at most 64 Ask for fewer.' },
    other: 'cpus: Must be at most 64 Ask for fewer.'
  });
});

test('what is about no field is told below all of them', async () => {
  const away = new Refused('The notebook server does not answer.', 0);
  for (const error of [away, new Error('The notebook server does not answer.')]) {
    assert.deepEqual(await ask(refusing(error), {}), {
      summary: '',
      errors: {},
      other: 'The notebook server does not answer.'
    });
  }
});

test('only what may be chosen has a field', () => {
  const form = (choices, accounts = []) =>
    renderToStaticMarkup(
      createElement(ResourceForm, {
        check: async () => '',
        offer: { age: 1, gpus: [], partitions: [], accounts, choices, defaults: {} },
        first: draftOf({}),
        onChange: () => undefined
      })
    );
  const names = html => [...html.matchAll(/ name="([a-z_]+)"/g)].map(([, name]) => name);
  assert.deepEqual(names(form({ cpus: { min: 1, max: 8 } })), ['cpus']);
  const all = form({ cpus: { max: 8 }, memory: { max: 2 ** 30 }, account: { any: true } }, ['proj', 'other']);
  assert.deepEqual(names(all), ['cpus', 'memory', 'account']);
  assert.match(all, /<option>other<\/option>/);
});
