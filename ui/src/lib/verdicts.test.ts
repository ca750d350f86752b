import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Figure, Finding, Judged, Verdicts } from './documents';
import type { Held } from './held';
import { evidenceOf, figureTitle, leftToSay, looseThresholds, ranked, sayEvidence, sayFigure, sayLimit, sayThreshold, sayWhat, together, verdictTitle } from './verdicts.ts';

function figure(name: string, more: Partial<Figure> = {}): Figure {
  return { name, value: 1, text: null, sign: null, threshold: null, held: null, ...more };
}

function judged(name: string, more: Partial<Judged> = {}): Judged {
  return { name, subject: '', verdict: 'WARN', score: null, message: 'said', advice: '', figures: [], thresholds: {}, steps: [], findings: [], evidence: null, ...more };
}

function finding(message: string, more: Partial<Finding> = {}): Finding {
  return { name: 'rule', severity: 'warning', layer: null, message, cause: 'a cause', action: 'an action', ...more };
}

function document(verdicts: Judged[]): Verdicts {
  return { run: 'r', verdict: 'WARN', verdicts, policy: 'default', timestamp: '' };
}

/** Ten steps, two to a bucket; step 4 is NaN, and in the bucket of 7 and 8 something is not finite that is not listed. */
function series(): Held {
  const last = [2, 4, 6, 8, 10];
  const ones = last.map(() => 1);
  return {
    run: 'r', name: 'loss', smoothing: 0, attempts: [], cursor: '', width: 2, first: last.map((step) => step - 1), step: last, minimum: ones, maximum: ones, mean: ones, last: ones,
    smoothed: ones, count: last.map(() => 2), non_finite_in_bucket: [0, 1, 0, 1, 0], non_finite: [{ step: 4, value: 'NaN', after: 1 }],
    non_finite_count: 2, points: 10, hidden_points: 0, time: null, ranks: null,
  };
}

test('a verdict and a number have a name for people, and one that nobody knows keeps its own', () => {
  assert.equal(verdictTitle('training_drift'), 'Loss curve');
  assert.equal(verdictTitle('my_own_rule'), 'My own rule');
  assert.equal(verdictTitle(''), '');
  assert.deepEqual(figureTitle('spikes_v2'), { title: 'spikes', field: 'spikes_v2' });
  assert.deepEqual(figureTitle('some_share'), { title: 'some share', field: '' });
});

test('a number that is not finite is said in words and never as a number', () => {
  assert.equal(sayFigure({ value: null, text: 'nan' }), 'no number');
  assert.equal(sayFigure({ value: null, text: 'inf' }), 'infinite');
  assert.equal(sayFigure({ value: null, text: '-inf' }), 'minus infinite');
  assert.equal(sayFigure({ value: null, text: null }), '—');
  for (const text of ['nan', 'inf', '-inf']) assert.doesNotMatch(sayFigure({ value: null, text }), /\d/);
});

test('whole numbers are counts, and thresholds have no zeros at their end', () => {
  assert.equal(sayFigure({ value: 1153, text: null }), '1,153');
  assert.equal(sayFigure({ value: 0, text: null }), '0');
  assert.equal(sayFigure({ value: 0.039119, text: null }), '0.03912');
  assert.equal(sayThreshold({ sign: '<=', threshold: 0.7 }), '≤ 0.7');
  assert.equal(sayThreshold({ sign: '>=', threshold: 10 }), '≥ 10');
  assert.equal(sayThreshold({ sign: null, threshold: null }), '');
  assert.equal(sayLimit(0.0003), '3e−4');
  assert.equal(sayLimit(100), '100');
  assert.equal(sayLimit(0.98), '0.98');
});

test('what missed its threshold stands first, and what has none last, each in the order in which it came', () => {
  const all = [figure('a'), figure('b', { held: true }), figure('c', { held: false }), figure('d', { held: true }), figure('e', { held: false }), figure('f')];
  assert.deepEqual(ranked(all).map(({ name }) => name), ['c', 'e', 'b', 'd', 'a', 'f']);
});

test('thresholds are listed by name where one of them stands beside no number', () => {
  const beside = figure('gain', { sign: '>=', threshold: 0.4, held: true });
  assert.deepEqual(looseThresholds({ figures: [beside], thresholds: { min_gain: 0.4 } }), []);
  assert.deepEqual(looseThresholds({ figures: [beside], thresholds: { min_gain: 0.4, min_items: 100 } }), [['min_gain', 0.4], ['min_items', 100]]);
  assert.deepEqual(looseThresholds({ figures: [figure('rows')], thresholds: { most: 0 } }), [['most', 0]]);
});

test('what the verdict has said its finding need not say again, but another finding must', () => {
  const only = finding('said', { action: 'look' });
  assert.deepEqual(leftToSay(only, judged('v', { advice: 'look', findings: [only] })), { message: '', cause: 'a cause', action: '' });
  const other = finding('more', { action: 'look' });
  const both = judged('v', { message: 'said; more', advice: 'look', findings: [only, other] });
  assert.deepEqual(leftToSay(only, both), { message: 'said', cause: 'a cause', action: '' });
  assert.deepEqual(leftToSay(other, both), { message: 'more', cause: 'a cause', action: 'look' });
});

test('only the verdict on the curve marks it, and only of the run that is open', () => {
  const of = document([judged('training_drift', { verdict: 'FAIL', steps: [3, 9] }), judged('other', { steps: [5] })]);
  assert.deepEqual(evidenceOf(of, 'r'), [{ step: 3, verdict: 'FAIL' }, { step: 9, verdict: 'FAIL' }]);
  assert.deepEqual(evidenceOf(of, 'another'), []);
  assert.deepEqual(evidenceOf(null, 'r'), []);
  assert.deepEqual(evidenceOf(document([judged('training_drift')]), 'r'), []);
});

test('a mark says what is there, and does not claim a spike where a value may be no number', () => {
  assert.equal(sayWhat(series(), 4), 'NaN');
  assert.equal(sayWhat(series(), 5), 'spike');
  assert.equal(sayWhat(series(), 7), 'spike or no number');
  assert.equal(sayWhat(series(), 99), 'spike or no number');
  assert.equal(sayWhat(null, 5), 'spike or no number');
  const at = (step: number) => ({ step, verdict: 'WARN' as const });
  assert.equal(sayEvidence(series(), [at(5)]), 'spike. Judged by training_drift: WARN.');
  assert.equal(sayEvidence(series(), [at(4), at(5)]), 'NaN at 4, spike at 5. Judged by training_drift: WARN.');
  assert.match(sayEvidence(series(), [1, 2, 5, 6, 9, 10, 11].map(at)), /and 2 more/);
});

test('marks that would cover each other are one, and none is lost', () => {
  const placed = [90, 0, 10, 40, 45, 100].map((x) => ({ x }));
  const found = together(placed, 36);
  assert.deepEqual(found.map(({ x, all }) => [x, all.length]), [[0, 2], [40, 2], [90, 2]]);
  assert.deepEqual(together([], 36), []);
});
