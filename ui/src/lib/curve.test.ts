import assert from 'node:assert/strict';
import { test } from 'node:test';
import { curve, joined, kinds, logTicks, nearest, starts, tableRows } from './curve.ts';
import type { AttemptRow, Series } from './documents';

function series(values: (number | null)[]): Series {
  const steps = values.map((_, at) => at + 1);
  const non_finite = steps.filter((_, at) => values[at] === null).map((step) => ({ step, value: 'NaN' as const, after: null }));
  return {
    run: 'r', name: 'loss', first: steps, step: steps, minimum: values, maximum: values, mean: values, last: values,
    smoothed: values, count: values.map(() => 1), non_finite, non_finite_count: non_finite.length, points: values.length,
    hidden_points: 0, smoothing: 0, attempts: [],
  };
}

function attempt(attempt: number, first_step: number | null, last_step: number | null): AttemptRow {
  return { attempt, first_step, last_step, started: null, shown_until: null, resumed_from: null };
}

test('a logarithmic axis drops what it cannot show and says where', () => {
  const drawn = curve(series([2, 0, -1, 3]), 'log');
  assert.deepEqual(drawn.mean, [2, null, null, 3]);
  assert.deepEqual(drawn.notPositive, [2, 3]);
  assert.deepEqual(curve(series([2, 0, -1, 3]), 'linear').notPositive, []);
});

test('no table row loses a spike or a non-finite point', () => {
  const values = Array.from({ length: 1000 }, (_, at) => (at === 617 ? 99 : at === 300 ? null : 1));
  const rows = tableRows(series(values), 100);
  assert.ok(rows.length <= 100);
  assert.equal(Math.max(...rows.map((row) => row.high ?? 0)), 99);
  assert.equal(rows.reduce((sum, row) => sum + row.count, 0), 1000);
  assert.equal(rows.reduce((sum, row) => sum + row.nonFinite, 0), 1);
});

test('a joined row weighs means by their counts, and is empty where nothing is finite', () => {
  const unequal = { ...series([1, 4]), count: [3, 1] };
  assert.equal(joined(unequal, 0, 2).mean, 1.75);
  assert.equal(joined(series([null, null]), 0, 2).mean, null);
});

test('a start is marked with how far it went back; the first is not marked', () => {
  assert.deepEqual(starts([attempt(1, 1, 80), attempt(2, 51, 120), attempt(3, 121, 130)]), [
    { step: 51, attempt: 2, rewoundFrom: 80 },
    { step: 121, attempt: 3, rewoundFrom: null },
  ]);
  assert.deepEqual(starts([attempt(1, null, null), attempt(2, 1, 5)]), []);
});

test('the kinds of non-finite points are counted apart', () => {
  const points = (['NaN', 'Infinity', '-Infinity', 'NaN'] as const).map((value, step) => ({ step, value, after: null }));
  assert.deepEqual(kinds(points), { nan: 2, up: 1, down: 1 });
});

test('the nearest step is the nearest step', () => {
  const steps = [1, 5, 6, 40];
  for (let wanted = -3; wanted < 60; wanted += 1) {
    const best = Math.min(...steps.map((step) => Math.abs(step - wanted)));
    assert.equal(Math.abs((steps[nearest(steps, wanted)] ?? NaN) - wanted), best);
  }
  assert.equal(nearest([], 3), -1);
});

test('log ticks are round, ascending, inside, and few', () => {
  for (const [low, high] of [[0.1, 10], [1.9, 4.2], [0.68, 0.74], [1e-8, 1e9], [0.5, 0.50001]] as const) {
    const ticks = logTicks(low, high);
    assert.ok(ticks.length >= 1 && ticks.length <= 10, `${ticks.length} ticks from ${low} to ${high}`);
    assert.ok(ticks.every((tick, at) => tick >= low && tick <= high && (at === 0 || tick > (ticks[at - 1] ?? 0))));
  }
});
