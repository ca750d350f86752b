import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bands, conditionTitle, figures, listed, sayConditions, sayLife, sortedConditions } from './alerts.ts';
import type { AlertDetail, AlertRow, ConditionRow } from './documents';
import type { Held } from './held.ts';

function row(more: Partial<AlertRow>): AlertRow {
  return {
    id: 'a', time: '2026-01-01T00:00:00Z', updated: '2026-01-01T00:00:00Z', attempt: 1, level: 'warning', title: 't', text: '', step: 10, last_step: 20,
    condition: 'loss_spike', category: 'loss', state: 'firing', recommendation: '', evidence: {}, subjects: [], count: 1, acknowledged: null, note: '', ...more,
  };
}

function detail(more: Partial<AlertRow>): AlertDetail {
  return { alert: row(more), examples: null, examples_left_out: 0, notifications: [] };
}

const STEPS = Array.from({ length: 100 }, (_, at) => at + 1);
const SERIES = { step: STEPS, first: STEPS, attempts: [], time: null } as unknown as Held;

test('what is over is listed only where nothing is open, or where all are asked for', () => {
  const [open, over] = [detail({ state: 'recovering' }), detail({ state: 'resolved' })];
  assert.equal(listed([open, over], null), 'open');
  assert.equal(listed([over], null), 'all');
  assert.equal(listed([], null), 'all');
  assert.equal(listed([over], 'open'), 'open');
  assert.equal(listed([open], 'all'), 'all');
});

test('a life is said by its count and its steps', () => {
  assert.equal(sayLife(row({ count: 12, step: 120, last_step: 180 })), 'seen 12 times, steps 120 to 180');
  assert.equal(sayLife(row({ count: 1, step: 120, last_step: 120 })), 'seen once');
  assert.equal(sayLife(row({ count: 10_000, step: null, last_step: 5 })), 'seen 10,000 times');
});

test('evidence that is no number stays none', () => {
  assert.deepEqual(figures({ grad_norm: 'NaN', loss: 'Infinity', ratio: 2.6123, seen: 12, huge: 1e9 }), [
    ['grad norm', 'NaN'], ['loss', '+∞'], ['ratio', '2.612'], ['seen', '12'], ['huge', '1.00e9'],
  ]);
});

test('stretches of one level that touch are one, and those of another level are their own', () => {
  const found = bands([row({ step: 40, last_step: 50 }), row({ step: 10, last_step: 30 }), row({ step: 20, last_step: 35 }), row({ level: 'critical', step: 12, last_step: 14 })], SERIES, 'step');
  assert.deepEqual(found, [
    { level: 'warning', from: 10, to: 35 },
    { level: 'warning', from: 40, to: 50 },
    { level: 'critical', from: 12, to: 14 },
  ]);
});

test('an alert of one step, of no step, or whose end is not known is no stretch', () => {
  assert.deepEqual(bands([row({ step: 5, last_step: 5 }), row({ step: null, last_step: 9 }), row({ step: 5, last_step: null })], SERIES, 'step'), []);
});

test('conditions: firing ones first, and a sentence that hides none that is blind', () => {
  const rows = (['ok', 'no_data', 'firing', 'error'] as const).map((state): ConditionRow => ({ name: state, state, reason: null }));
  assert.deepEqual(sortedConditions(rows).map(({ state }) => state), ['firing', 'error', 'no_data', 'ok']);
  assert.equal(sayConditions(rows), '4 conditions are watched, 1 without data, 1 with an error');
  assert.equal(conditionTitle('gradient_imbalance'), 'Gradient imbalance');
  assert.equal(conditionTitle('loss_spike'), 'Loss spike');
});
