import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alsoAt, apart, bands, conditionTitle, figures, isLeftBehind, isOpen, listed, sayConditions, sayCounts, sayLife, sayOpen, sortedConditions, stateNow } from './alerts.ts';
import type { AlertDetail, AlertRow, BatchOfAlert, ConditionRow } from './documents';
import type { Held } from './held.ts';
import { signOfAlert } from '../parts/words.ts';

function row(more: Partial<AlertRow>): AlertRow {
  return {
    id: 'a', time: '2026-01-01T00:00:00Z', updated: '2026-01-01T00:00:00Z', attempt: 1, level: 'warning', title: 't', text: '', step: 10, last_step: 20,
    condition: 'loss_spike', category: 'loss', state: 'firing', recommendation: '', evidence: {}, subjects: [], count: 1, acknowledged: null, note: '', spans: [], ...more,
  };
}

function detail(more: Partial<AlertRow>): AlertDetail {
  return { alert: row(more), batches: [], notifications: [] };
}

const STEPS = Array.from({ length: 100 }, (_, at) => at + 1);
const ATTEMPTS = [1, 2].map((attempt) => ({ attempt, zero: null, started: null }));
const SERIES = { step: STEPS, first: STEPS, attempts: ATTEMPTS, time: null } as unknown as Held;

test('what is over is listed only where nothing is open, or where all are asked for', () => {
  const [open, over] = [detail({ state: 'recovering' }), detail({ state: 'resolved' })];
  assert.equal(listed([open, over], 1, null), 'open');
  assert.equal(listed([over], 1, null), 'all');
  assert.equal(listed([], null, null), 'all');
  assert.equal(listed([over], 1, 'open'), 'open');
  assert.equal(listed([open], 1, 'all'), 'all');
  assert.equal(listed([detail({ state: 'ended' })], 2, null), 'all', 'it is history once a newer attempt goes on');
});

test('what was open at the end is not over, and one of the user is over once it is acknowledged, not before', () => {
  assert.ok(isOpen(row({ state: 'ended' }), 1));
  const own = { category: 'user', condition: '' } as const;
  assert.ok(isOpen(row({ ...own, state: 'resolved' }), 1));
  assert.equal(isOpen(row({ ...own, state: 'firing', acknowledged: '2026-01-01T00:00:00Z' }), 1), false);
  const alerts = [row({ state: 'ended' }), row({ state: 'firing' }), row({ state: 'resolved' })];
  assert.equal(sayOpen(alerts, 1, false), 'Open 2');
  assert.equal(sayOpen(alerts, 1, true), 'At the end 2');
});

test('what an attempt left open is history once a newer one goes on, whatever was said of it', () => {
  const seen = '2026-01-01T00:00:00Z';
  for (const more of [{}, { acknowledged: seen }, { category: 'user', condition: '' } as const]) {
    const left = row({ state: 'ended', attempt: 1, ...more });
    assert.deepEqual([1, 2, null].map((newest) => isLeftBehind(left, newest)), [false, true, false]);
    assert.equal(isOpen(left, 2), false);
  }
  assert.ok(isOpen(row({ state: 'firing', attempt: 2 }), 2));
  assert.equal(sayOpen([row({ state: 'ended', attempt: 1 }), row({ state: 'firing', attempt: 2 })], 2, false), 'Open 1');
  assert.equal(sayOpen([row({ state: 'ended', attempt: 1 }), row({ state: 'ended', attempt: 2 })], 2, true), 'At the end 1');
  assert.equal(signOfAlert(row({ state: 'ended', attempt: 1 }), 2).word, 'open when attempt 1 ended');
  assert.equal(signOfAlert(row({ state: 'ended', attempt: 1, category: 'user' }), 2).word, 'not acknowledged in attempt 1');
  assert.equal(signOfAlert(row({ state: 'ended', attempt: 2 }), 2).word, 'open at the end');
});

test('the counts are of what the tab of the open ones lists', () => {
  const seen = '2026-01-01T00:00:00Z';
  const alerts = [row({ state: 'firing' }), row({ state: 'ended', acknowledged: seen }), row({ state: 'ended' }), row({ state: 'pending' }), row({ state: 'resolved' })];
  assert.equal(sayCounts(alerts, 1), '1 open, 2 open at the end, 1 pending, 2 not acknowledged');
  assert.equal(sayCounts(alerts, 2), '1 open, 1 pending');
  assert.equal(sayCounts([row({ state: 'recovering', acknowledged: seen })], 1), '1 open, 0 not acknowledged');
  assert.equal(sayCounts([row({ state: 'resolved' })], 1), '');
});

test('what is said of a condition is what its newest alert says, and else what is watched', () => {
  const conditions: ConditionRow[] = [{ name: 'loss_spike', state: 'ok', reason: null }];
  const said = (state: AlertRow['state'], newest = 1) => stateNow({ alerts: [detail({ state, step: 40 })], conditions }, newest, 'loss_spike');
  assert.equal(said('firing'), 'alert firing since step 40');
  assert.equal(said('ended'), 'alert open at the end, since step 40');
  assert.equal(said('ended', 2), 'no alert', 'an older attempt says nothing of now');
  assert.equal(said('resolved'), 'alert of step 40 resolved');
  assert.equal(stateNow({ alerts: [], conditions }, 1, 'loss_spike'), 'no alert');
  assert.equal(stateNow({ alerts: [], conditions: [] }, 1, 'loss_spike'), null);
});

test('an example is known by its hash in every batch that had it', () => {
  const batch = (step: number, ...hashes: string[]): BatchOfAlert => ({ step, left_out: 0, why: '', examples: hashes.map((hash, row) => ({ hash, row, micro_batch: 0, tokens: 1, index: null, text: null })) });
  const again = alsoAt([batch(201, 'a', 'b', 'b'), batch(121, 'a'), batch(41, 'a', 'c')]);
  assert.deepEqual(again('a', 201), [41, 121]);
  assert.deepEqual(again('b', 201), [], 'twice in one batch is no other batch');
  assert.deepEqual(again('unknown', 201), []);
});

test('a life is said by its count and its steps', () => {
  assert.equal(sayLife(row({ count: 1, step: 61, last_step: 62 })), 'seen once');
  assert.equal(sayLife(row({ count: 3, step: 61, last_step: 202, spans: [{ first: 61, last: 62 }, { first: 121, last: 122 }, { first: 201, last: 202 }] })), 'seen 3 times in 3 episodes, steps 61 to 202');
  assert.equal(sayLife(row({ count: 12, step: 120, last_step: 180 })), 'seen 12 times, steps 120 to 180');
  assert.equal(sayLife(row({ count: 1, step: 120, last_step: 120 })), 'seen once');
  assert.equal(sayLife(row({ count: 10_000, step: null, last_step: 5 })), 'seen 10,000 times');
});

test('evidence that is no number stays none', () => {
  assert.deepEqual(figures({ grad_norm: 'NaN', loss: 'Infinity', ratio: 2.6123, seen: 12, huge: 1e9 }), [
    ['grad norm', 'NaN'], ['loss', '+∞'], ['ratio', '2.612'], ['seen', '12'], ['huge', '1.00e9'],
  ]);
});

test('evidence is said in the unit that its name ends with', () => {
  assert.deepEqual(figures({ silent_s: 18, since_step_s: 0.5, data_wait_share: 0.04758, share: 0.5828, below_share: 0.6, expected_gain: -0.1785, free_gb: 12.5, above_c: 83, disk_pct: 96, full_pct: 99.96, pct_above: 95, tokens_per_sec: 4260.7, lost_s: 'NaN' }), [
    ['silent', '18 s'], ['since step', '0.5000 s'], ['data wait share', '4.8 %'], ['share', '58 %'], ['below share', '60 %'], ['expected gain', '−18 %'],
    ['free', '12.50 GB'], ['above', '83 °C'], ['disk', '96 %'], ['full', '99.9 %'], ['above', '95 %'], ['tokens/s', '4,261'], ['lost', 'NaN'],
  ]);
});

function over(first: number, last: number | null, more: Partial<AlertRow> = {}): AlertRow {
  return row({ step: first, last_step: last, spans: [{ first, last }], ...more });
}

test('stretches of one level that touch are one, and those of another level are their own', () => {
  const found = bands([over(40, 50), over(10, 30), over(20, 35), over(12, 14, { level: 'critical' })], SERIES, 'step');
  assert.deepEqual(found, [
    { level: 'warning', from: 10, to: 35, lasting: false },
    { level: 'warning', from: 40, to: 50, lasting: false },
    { level: 'critical', from: 12, to: 14, lasting: false },
  ]);
});

test('an alert that comes and goes is a stretch for each time, and none between', () => {
  const spans = [{ first: 10, last: 11 }, { first: 30, last: 30 }, { first: 90, last: null }];
  const found = bands([row({ step: 10, last_step: 95, attempt: 2, spans })], SERIES, 'step');
  assert.deepEqual(found.map(({ from, to }) => [from, to]), [[10, 11], [30, 30], [90, 100]]);
});

test('what never was over lasts to the end of its own attempt', () => {
  assert.deepEqual(bands([over(10, null, { attempt: 1, last_step: 40 })], SERIES, 'step').map(({ to }) => to), [40]);
});

test('what a newer attempt made anew is no part of an older alert', () => {
  const attempts = [{ attempt: 1, zero: null, started: null, shown_until: 30 }, { attempt: 2, zero: null, started: null, shown_until: null }];
  const resumed = { ...SERIES, attempts } as unknown as Held;
  const places = (...alerts: AlertRow[]) => bands(alerts, resumed, 'step').map(({ from, to }) => [from, to]);
  assert.deepEqual(places(over(10, null, { attempt: 1, last_step: 40 })), [[10, 29]]);
  assert.deepEqual(places(over(35, 40, { attempt: 1 })), []);
  assert.deepEqual(places(over(35, 40, { attempt: 2 }), over(90, null, { attempt: 2 })), [[35, 40], [90, 100]]);
});

test('a condition that lasts is no moment, and what a user says has no length', () => {
  const lasting = (more: Partial<AlertRow>) => bands([over(10, 20, more)], SERIES, 'step').map((band) => band.lasting);
  assert.deepEqual(lasting({ condition: 'dead_layers', category: 'gradients' }), [true]);
  assert.deepEqual(lasting({ condition: 'throughput_degraded', category: 'throughput' }), [true]);
  assert.deepEqual(lasting({ condition: 'exploding_gradients', category: 'gradients' }), [false]);
  assert.deepEqual(lasting({ condition: '', category: 'user' }), []);
  assert.deepEqual(bands([row({ spans: [] })], SERIES, 'step'), []);
});

test('marks that would cover each other are the gravest of them, and the one pointed out is always there', () => {
  const marks = (['info', 'critical', 'warning', 'info', 'warning'] as const).map((level, at) => ({ level, x: [0, 4, 8, 13, 40][at] ?? 0 }));
  const places = (always: number | null) => apart(marks, 10, ({ x }) => x === always).map(({ x }) => x);
  assert.deepEqual(places(null), [4, 40]);
  assert.deepEqual(places(13), [0, 13, 40], 'what is pointed out wins');
  assert.deepEqual(apart(marks, 0, () => false).length, marks.length);
  assert.deepEqual(apart([], 10, () => true), []);
});

test('conditions: firing ones first, and a sentence that hides none that is blind', () => {
  const rows = (['ok', 'no_data', 'firing', 'error'] as const).map((state): ConditionRow => ({ name: state, state, reason: null }));
  assert.deepEqual(sortedConditions(rows).map(({ state }) => state), ['firing', 'error', 'no_data', 'ok']);
  assert.equal(sayConditions(rows), '4 conditions are watched, 1 without data, 1 with an error');
  assert.equal(conditionTitle('gradient_imbalance'), 'Gradient imbalance');
  assert.equal(conditionTitle('loss_spike'), 'Loss spike');
});
