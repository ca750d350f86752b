import assert from 'node:assert/strict';
import { test } from 'node:test';
import { abscissae, bucketAt, clockAt, elapsed, extent, fitted, placeOf, placeOfAlert, rowHolding, zoomed } from './abscissa.ts';
import type { AttemptRow } from './documents';
import type { Held } from './held.ts';

const T = Date.parse('2026-01-01T00:00:00Z') / 1000;

function attempt(number: number, started: number, zero: number | null): AttemptRow {
  return { attempt: number, started: new Date(started * 1000).toISOString(), first_step: 1, last_step: 9, shown_until: null, resumed_from: null, zero };
}

// trained for 100 s, stood still for 900 s, went on
const ATTEMPTS = [attempt(1, T, T), attempt(2, T + 1000, T + 900)];

function series(step: number[], time: (number | null)[] | null): Held {
  const values = step.map(() => 1);
  return {
    run: 'r', name: 'loss', smoothing: 0, attempts: ATTEMPTS, cursor: '', width: 1, first: step, step, minimum: values, maximum: values,
    mean: values, last: values, smoothed: values, count: values, non_finite_in_bucket: values.map(() => 0), non_finite: [],
    non_finite_count: 0, points: step.length, hidden_points: 0, time, ranks: null,
  };
}

test('time between attempts is no training time', () => {
  assert.equal(elapsed(T + 100, ATTEMPTS), 100);
  assert.equal(elapsed(T + 1000, ATTEMPTS), 100);
  assert.equal(elapsed(T + 1050, ATTEMPTS), 150);
  assert.equal(elapsed(T, []), null);
});

test('the clock of an elapsed time is that of the attempt that was at it', () => {
  for (const seconds of [0, 50, 99, 120, 400]) {
    const clock = clockAt(seconds, ATTEMPTS) ?? NaN;
    assert.equal(clock, seconds < 99 ? T + seconds : T + 900 + seconds);
    assert.equal(elapsed(clock, ATTEMPTS), seconds);
  }
});

test('x never goes back, and every bucket has one, whatever times are there', () => {
  const steps = [1, 2, 3, 4, 5, 6];
  for (const time of [[null, T, T + 5, T + 3, null, T + 9], [null, null, null, null, null, null], null]) {
    for (const axis of ['elapsed', 'clock', 'step'] as const) {
      const x = abscissae(series(steps, time), axis);
      assert.equal(x.length, steps.length);
      assert.ok(x.every((value, at) => Number.isFinite(value) && value >= (x[at - 1] ?? -Infinity)), `${axis} ${x}`);
    }
  }
});

test('a step stands where the bucket that holds it stands', () => {
  const held = series([10, 20, 30], [T + 1, T + 2, T + 3]);
  assert.equal(placeOf(held, 'step', 15), 15);
  assert.equal(placeOf(held, 'clock', 15), T + 2);
  assert.equal(placeOf(held, 'elapsed', 99), 3);
  assert.equal(placeOf(series([], []), 'clock', 1), null);
});

test('elapsed time begins at zero, steps at the first', () => {
  const held = series([10, 20], [T + 5, T + 6]);
  assert.deepEqual(extent(held, 'elapsed'), { from: 0, to: 6 });
  assert.deepEqual(extent(held, 'step'), { from: 10, to: 20 });
  assert.equal(extent(series([], []), 'step'), null);
});

test('a line has a bucket at every x between its ends, the one that holds it, and none beyond', () => {
  const held = { ...series([10, 20, 30], [T + 1, T + 2, T + 3]), first: [4, 11, 21] };
  assert.deepEqual([3, 4, 10, 11, 20, 25, 30, 31].map((x) => bucketAt(held, 'step', x)), [null, 0, 0, 1, 1, 2, 2, null]);
  assert.deepEqual([T, T + 1, T + 1.5, T + 3, T + 4].map((x) => bucketAt(held, 'clock', x)), [null, 0, 1, 2, null]);
  assert.equal(bucketAt(series([], []), 'step', 1), null);
});

test('an alert stands at its own time where x is time, and never beyond the line', () => {
  const held = series([10, 20, 30], [T + 10, T + 50, T + 1050]);
  const at = (seconds: number) => ({ step: 10, time: new Date((T + seconds) * 1000).toISOString() });
  assert.equal(placeOfAlert(held, 'step', at(40)), 10);
  assert.equal(placeOfAlert(held, 'clock', at(40)), T + 40);
  assert.equal(placeOfAlert(held, 'elapsed', at(1020)), 120);
  assert.equal(placeOfAlert(held, 'clock', at(9999)), T + 1050);
  assert.equal(placeOfAlert(held, 'clock', { step: 20, time: 'never' }), T + 50);
});

test('a row holds the steps after the row before it', () => {
  assert.deepEqual([1, 8, 9, 10, 16, 17].map((x) => rowHolding([8, 16], x)), [0, 0, 1, 1, 1, 1]);
  assert.equal(rowHolding([], 1), -1);
});

test('a zoom keeps its centre in its place', () => {
  for (const around of [0, 25, 100]) {
    const { from, to } = zoomed({ from: 0, to: 100 }, 0.5, around);
    assert.equal(to - from, 50);
    assert.equal((around - from) / 50, around / 100);
  }
});

test('a window lies inside the whole, and one as wide is none', () => {
  const whole = { from: 1, to: 500 };
  assert.equal(fitted({ from: -100, to: 900 }, whole), null);
  assert.deepEqual(fitted({ from: -9, to: 91 }, whole), { from: 1, to: 101 });
  assert.deepEqual(fitted({ from: 450, to: 550 }, whole), { from: 400, to: 500 });
  assert.deepEqual(fitted({ from: 20, to: 30 }, whole), { from: 20, to: 30 });
  assert.deepEqual(fitted({ from: 0, to: 9e9 }, null), { from: 0, to: 9e9 });
});
