import assert from 'node:assert/strict';
import { test } from 'node:test';
import { curve, joined, kinds, logTicks, nearest, notFinite, penPoint, starts, tableRows, valueRange } from './curve.ts';
import type { AttemptRow } from './documents';
import type { Held } from './held.ts';

function series(values: (number | null)[]): Held {
  const steps = values.map((_, at) => at + 1);
  const non_finite = steps.filter((_, at) => values[at] === null).map((step) => ({ step, value: 'NaN' as const, after: null }));
  return {
    run: 'r', name: 'loss', first: steps, step: steps, minimum: values, maximum: values, mean: values, last: values,
    smoothed: values, count: values.map(() => 1), non_finite, non_finite_count: non_finite.length,
    non_finite_in_bucket: values.map((value) => (value === null ? 1 : 0)), points: values.length,
    hidden_points: 0, smoothing: 0, attempts: [], cursor: '', width: 1, time: null, ranks: null,
  };
}

function attempt(attempt: number, first_step: number | null, last_step: number | null, shown_until: number | null = null): AttemptRow {
  return { attempt, first_step, last_step, started: null, shown_until, resumed_from: null, zero: null };
}

test('a logarithmic axis drops what it cannot show and says where', () => {
  const drawn = curve(series([2, 0, -1, 3]), 'log', 'step');
  assert.deepEqual(drawn.mean, [2, null, null, 3]);
  assert.deepEqual(drawn.notPositive, [2, 3]);
  assert.deepEqual(curve(series([2, 0, -1, 3]), 'linear', 'step').notPositive, []);
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

test('an attempt whose every point is hidden has no mark, and the next says how far the run had come', () => {
  const rows = [attempt(1, 1, 80, 51), attempt(2, 51, 120, 51), attempt(3, 60, 70, 51), attempt(4, 51, 60, null)];
  assert.deepEqual(starts(rows), [{ step: 51, attempt: 4, rewoundFrom: 120 }]);
});

test('the kinds of non-finite points are counted apart', () => {
  const non_finite = (['NaN', 'Infinity', '-Infinity', 'NaN'] as const).map((value, step) => ({ step, value, after: null }));
  assert.deepEqual(kinds({ ...series([]), non_finite, non_finite_count: 7 }), { nan: 2, up: 1, down: 1, some: 3 });
});

test('behind the end of the list every bucket with a non-finite point has a mark at the last finite value', () => {
  const whole = series([1, null, 2, null, null, 3]);
  assert.deepEqual(notFinite(whole).map((mark) => [mark.step, mark.kind]), [[2, 'nan'], [4, 'nan'], [5, 'nan']]);
  const cut = { ...whole, non_finite: whole.non_finite.slice(0, 1) };
  assert.deepEqual(notFinite(cut).slice(1), [{ step: 4, kind: 'some', after: 2 }, { step: 5, kind: 'some', after: 2 }]);
  assert.equal(tableRows(cut, 100).reduce((sum, row) => sum + row.nonFinite, 0), 3);
});

test('the pen stands at the newest value, and nowhere when that is not finite', () => {
  assert.deepEqual(penPoint(series([3, null, 2])), { step: 3, value: 2 });
  assert.equal(penPoint(series([3, 2, null])), null);
  const carried = { ...series([3, 2, null]), smoothed: [3, 2, 2] };
  assert.equal(penPoint(carried), null);
  assert.equal(penPoint({ ...carried, non_finite: [] }), null);
  assert.equal(penPoint(series([])), null);
});

test('the greatest losses leave an axis with a finite length, and lines inside it', () => {
  for (const scale of ['linear', 'log'] as const) {
    for (const values of [[-1.7e308, 1.7e308], [1e308, 1e308], [5e-324, 1e308], [0, 0], [3], [-1e308, 2]]) {
      const drawn = curve(series(values), scale, 'step').mean.filter((value) => value !== null);
      if (drawn.length === 0) continue;
      const [low, high] = valueRange(Math.min(...drawn), Math.max(...drawn), scale);
      assert.ok(Number.isFinite(high - low) && high > low, `${values} gave ${low} to ${high}`);
      assert.ok(drawn.every((value) => value >= low && value <= high));
    }
  }
  assert.equal(joined(series([1.7e308, 1.7e308]), 0, 2).mean, 1.7e308);
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
