import assert from 'node:assert/strict';
import { test } from 'node:test';

import { firstChoice, models, outlook, readChoice } from '../lib/kit/resources/choice.js';
import { choiceOfDraft, draftOf } from '../lib/kit/resources/draft.js';

const GIB = 1024 ** 3;
const GB = 1000 ** 3;
const offer = {
  age: 1,
  gpus: [
    { model: 'a100', idle: 0, total: 8, per_node: 4, partition: 'gpu' },
    { model: 'l40', idle: 2, total: 2, per_node: 2, partition: 'gpu' },
    { model: 'l40', idle: 2, total: 2, per_node: 2, partition: 'short' }
  ],
  partitions: [{ name: 'gpu', default: false }],
  accounts: ['proj'],
  choices: {
    cpus: { min: 1, max: 64 },
    memory: { min: 256 * 1024 ** 2, max: 64 * GIB },
    gpus: { min: 0, max: 4 },
    gpu_model: { any: true },
    time_limit: { min: 60, max: 86400 },
    partition: { values: ['gpu', 'short'] }
  },
  defaults: { cpus: 1, memory: 4 * GIB, gpus: 0, time_limit: 3600, gpu_model: null }
};

test('what a notebook remembers is taken only where it is well formed and on offer', () => {
  const good = { cpus: 8, gpus: 2, gpu_model: 'a100', partition: 'gpu' };
  assert.deepEqual(readChoice(good, offer), good);
  for (const bad of [
    null,
    'cpus',
    7,
    [1],
    { cpus: '8' },
    { cpus: 1e9 },
    { cpus: -1 },
    { cpus: 1.5 },
    { cpus: NaN },
    { cpus: true },
    { cpus: [8] },
    { partition: 'elsewhere' },
    { partition: ['gpu'] },
    { gpu_model: 'a100' },
    { gpus: 1e400 },
    { account: 'proj' },
    { script: 'rm -rf /' },
    JSON.parse('{"__proto__": {"cpus": 8}}')
  ]) {
    assert.deepEqual(readChoice(bad, offer), {}, JSON.stringify(bad));
  }
  for (const model of ['', 'a b', '<img src=x>', 'a\n#SBATCH', '$(id)', '-x', 'é', 'x'.repeat(99)]) {
    assert.deepEqual(readChoice({ gpus: 1, gpu_model: model }, offer), { gpus: 1 }, model);
  }
});

test('what is remembered goes before what the site proposes', () => {
  assert.deepEqual(firstChoice({ gpus: 2, cpus: 4 }, offer), {
    cpus: 4,
    gpus: 2,
    memory: 4 * GIB,
    time_limit: 3600
  });
});

test('GPUs that are in two partitions count once, idle ones come first', () => {
  const found = models(offer.gpus, offer.choices.gpu_model);
  assert.deepEqual(
    found.map(one => [one.model, one.idle]),
    [
      ['l40', 2],
      ['a100', 0]
    ]
  );
  assert.match(outlook({ gpus: 1 }, found), /at once/);
  assert.match(outlook({ gpus: 1, gpu_model: 'a100' }, found), /wait in the queue/);
  assert.match(outlook({ gpus: 4 }, found), /wait in the queue/);
  assert.equal(outlook({ gpus: 0 }, found), '');
});

test('a draft of a choice comes back as the same choice', () => {
  for (const choice of [
    { gpus: 0, cpus: 1, memory: 256 * 1024 ** 2, time_limit: 60 },
    { gpus: 2, gpu_model: 'a100', cpus: 8, memory: 16 * GIB, time_limit: 7200, partition: 'gpu' },
    { gpus: 1, cpus: 2, memory: GIB, time_limit: 86400 },
    { gpus: 1, cpus: 2, memory: 1.5 * GB, time_limit: 86400 },
    { gpus: 0, cpus: 1, memory: 64 * GIB, time_limit: 60 }
  ]) {
    assert.deepEqual(choiceOfDraft(draftOf(choice), offer), { choice, errors: {} });
  }
});

test('GB are 1,000,000,000 bytes, and what stands there unchanged is what it was', () => {
  const draft = draftOf({ gpus: 0, cpus: 1, memory: 4 * GIB, time_limit: 60 });
  assert.equal(draft.memory, '4.295');
  assert.equal(choiceOfDraft(draft, offer).choice.memory, 4 * GIB);
  assert.equal(choiceOfDraft({ ...draft, memory: '4' }, offer).choice.memory, 4 * GB);
  assert.equal(choiceOfDraft({ ...draft, memory: '4.29' }, offer).choice.memory, 4.29 * GB);
});

test('what is wrong is told beside its field', () => {
  const draft = { ...draftOf({}), gpu: 'any', gpus: '9', cpus: 'two', memory: '0.1', time: '25', unit: 'h' };
  const { choice, errors } = choiceOfDraft(draft, offer);
  assert.deepEqual(choice, {});
  assert.deepEqual(errors, {
    gpus: 'Must be 0 to 4.',
    cpus: 'Write a whole number.',
    memory: 'Must be 269 MB to 68.7 GB.',
    time_limit: 'Must be 1 min to 1 d.'
  });
});
