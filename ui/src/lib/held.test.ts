import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Series, SeriesSet } from './documents';
import { firstNotBefore, held } from './held.ts';

function answer(from: number, values: (number | null)[], more: Partial<Series> = {}): Series {
  const steps = values.map((_, at) => from + at);
  return {
    name: 'loss', cursor: `c${from + values.length}`, partial: from > 1, from_step: from > 1 ? from : 0, width: 1,
    first: steps, step: steps, minimum: null, maximum: null, mean: null, last: values, smoothed: null,
    count: values.map(() => 1), non_finite_in_bucket: values.map((value) => (value === null ? 1 : 0)),
    non_finite: steps.filter((_, at) => values[at] === null).map((step) => ({ step, value: 'NaN' as const, after: null })),
    non_finite_count: 0, points: from + values.length - 1, hidden_points: 0, time: null, ranks: null, ...more,
  };
}

function set(series: Series): SeriesSet {
  return { run: 'r', smoothing: 0, attempts: [], series: [series], timestamp: '' };
}

test('parts put in their place give what one whole answer gives', () => {
  const values = Array.from({ length: 60 }, (_, at) => (at % 7 === 3 ? null : Math.sin(at)));
  const whole = held(set(answer(1, values)), answer(1, values), null);
  for (const cut of [1, 20, 59]) {
    for (const overlap of [0, 1, 5]) {
      const begun = answer(1, values.slice(0, cut));
      const from = Math.max(2, cut + 1 - overlap);
      const part = answer(from, values.slice(from - 1));
      const joined = held(set(part), part, held(set(begun), begun, null));
      for (const column of ['first', 'step', 'minimum', 'maximum', 'mean', 'last', 'smoothed', 'count', 'non_finite'] as const) {
        assert.deepEqual(joined[column], whole[column], `${column}, cut at ${cut}, ${overlap} again`);
      }
      assert.equal(joined.cursor, part.cursor);
    }
  }
});

test('an answer that is no part takes the place of everything', () => {
  const old = held(set(answer(1, [1, 2, 3])), answer(1, [1, 2, 3]), null);
  const fresh = answer(1, [7]);
  assert.deepEqual(held(set(fresh), fresh, old).step, [1]);
});

test('a part with nothing in it changes no column', () => {
  const old = held(set(answer(1, [1, 2, 3])), answer(1, [1, 2, 3]), null);
  const nothing = answer(4, []);
  const after = held(set(nothing), nothing, old);
  assert.equal(after.last, old.last);
  assert.equal(after.step, old.step);
});

test('a bucket of one point has that point as its least, greatest and mean value', () => {
  const one = held(set(answer(1, [3, null])), answer(1, [3, null]), null);
  assert.deepEqual([one.minimum, one.maximum, one.mean, one.smoothed], [[3, null], [3, null], [3, null], [3, null]]);
});

test('the first entry not before a step is found', () => {
  const steps = [2, 4, 4, 9];
  for (let step = 0; step < 12; step += 1) {
    const found = steps.findIndex((each) => each >= step);
    assert.equal(firstNotBefore(steps, step), found < 0 ? steps.length : found);
  }
});
