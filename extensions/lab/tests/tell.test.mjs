import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { keepChoices, keptWords, noticeLine, queueWords, statusWords } from '../lib/kernels/tell.js';
import { duration, remaining, size, soonClock } from '../lib/kit/words.js';

const MINUTE = 60_000;
const view = {
  state: 'running',
  message: '',
  queue_place: null,
  estimated_start: null,
  node: 'n1',
  job_id: '7',
  ends_at: null,
  now: '2026-01-01T00:00:00Z',
  resources: null,
  failure: null,
  keep: false,
  keep_until: null,
  keep_hours: 72,
  idle: { warning: null }
};

test('a kernel that waits says where, once, and can be cancelled', () => {
  const queued = { ...view, state: 'queued', queue_place: 3 };
  const same = { ...queued, message: 'Waiting in the queue: number 3 in line' };
  assert.equal(queueWords(same), 'Waiting in the queue · number 3 in line');
  const other = { ...queued, message: 'All GPUs are busy' };
  assert.equal(queueWords(other), 'All GPUs are busy · number 3 in line');
  assert.deepEqual(noticeLine(other, undefined, null).actions, ['cancel', 'details']);
  assert.equal(statusWords(other, null), 'Kernel in the queue, place 3');
});

test('a kernel that is dead says why, and can be started again', () => {
  const failure = { title: 'The time limit was reached', detail: '', hint: 'Ask for more.', log: '' };
  const line = noticeLine({ ...view, state: 'dead', failure }, undefined, null);
  assert.equal(line.tone, 'wrong');
  assert.equal(line.text, 'The time limit was reached.');
  assert.equal(line.more, 'Ask for more.');
  assert.deepEqual(line.actions, ['again', 'move', 'details']);
});

test('a kernel that runs is quiet until its end is near or it is idle', () => {
  assert.equal(noticeLine(view, undefined, null), null);
  assert.equal(noticeLine(view, undefined, 60 * MINUTE), null);
  assert.match(noticeLine(view, undefined, 14 * MINUTE).text, /ends in 14 min/);
  const short = { ...view, resources: { summary: '', time_limit: 300 } };
  assert.equal(noticeLine(short, undefined, 4 * MINUTE), null);
  assert.match(noticeLine(short, undefined, 0.9 * MINUTE).text, /less than a minute/);
  const idle = { ...view, idle: { warning: 'It is idle.' } };
  assert.deepEqual(noticeLine(idle, undefined, null).actions, ['keep', 'details']);
});

test('the kernel that is to take over goes before the one that runs', () => {
  assert.match(noticeLine(view, null, null).text, /^The new kernel/);
  assert.deepEqual(noticeLine(view, { ...view, state: 'dead' }, null).actions, ['cancel', 'move', 'details']);
});

test('a kernel is kept for hours that its job has', () => {
  const hours = (most, left) => keepChoices(most, left).map(one => one[1]);
  assert.deepEqual(hours(24, null), ['for 1 h', 'for 4 h', 'for 12 h', 'for 1 d']);
  assert.deepEqual(hours(0.5, null), ['for 30 min']);
  assert.deepEqual(hours(72, 5 * 60 * MINUTE), ['for 1 h', 'for 4 h', 'until its job ends']);
  assert.deepEqual(keepChoices(72, 0), [[0.1, 'until its job ends']]);
  const now = Date.parse('2026-03-02T10:00:00');
  assert.equal(keptWords('2026-03-02T11:00:00', 60 * MINUTE, now), 'until its job ends');
  assert.match(keptWords('2026-03-02T11:00:00', null, now), /^until .*11:00$/);
  assert.equal(soonClock('2026-03-02T11:00:00', new Date(now)), '11:00');
  assert.equal(soonClock('2026-03-04T11:00:00', new Date(now)), 'Wed 11:00');
  assert.match(soonClock('2026-03-30T11:00:00', new Date(now)), /30/);
});

test('times are short', () => {
  assert.equal(duration(59_000), 'less than a minute');
  assert.equal(duration(135 * MINUTE), '2 h 15 min');
  assert.equal(duration(51 * 60 * MINUTE), '2 d 3 h');
  assert.equal(remaining(0.2), '1 s');
  assert.equal(remaining(7800), '2 h 10 min');
});

test('sizes are told as the gateway tells them in Python', async () => {
  const cases = new URL('../../../tests/unit/spawners/common/sizes.json', import.meta.url);
  for (const [rounding, sizes] of Object.entries(JSON.parse(await readFile(cases, 'utf8')))) {
    for (const [bytes, text] of sizes) {
      assert.equal(size(bytes, rounding), text, `${bytes} ${rounding}`);
    }
  }
});
