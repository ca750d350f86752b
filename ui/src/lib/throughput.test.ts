import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearestPoint, points, reach, saySeconds, shares, ticks } from './throughput.ts';
import type { ThroughputSample } from './documents';

const step = (data_wait_share: number | null, forward_backward_share: number | null, optimizer_share: number | null) => ({ data_wait_share, forward_backward_share, optimizer_share });
const sum = (found: readonly { share: number }[]) => found.reduce((total, { share }) => total + share, 0);

test('shares of a step are all of it, and what no part claims is the rest', () => {
  const found = shares(step(0.1, 0.7, 0.1));
  assert.deepEqual(found.map(({ key }) => key), ['wait', 'compute', 'optimizer', 'rest']);
  assert.ok(Math.abs(sum(found) - 1) < 1e-12);
  assert.equal(found[1]?.share, 0.7);
});

test('parts that overlap never make more than the whole', () => {
  const found = shares(step(0.5, 0.7, null));
  assert.ok(Math.abs(sum(found) - 1) < 1e-12);
  assert.deepEqual(found.map(({ key }) => key), ['wait', 'compute']);
});

test('a part that is not measured is no part, and without any there are no shares', () => {
  assert.deepEqual(shares(step(null, 0.6, null)).map(({ key }) => key), ['compute', 'rest']);
  assert.deepEqual(shares(step(null, null, null)), []);
});

test('seconds are said in the unit that fits', () => {
  assert.deepEqual([0.0000123, 0.0042, 0.123, 1.7, 12.34].map(saySeconds), ['12 µs', '4.2 ms', '123 ms', '1.70 s', '12.3 s']);
});

test('a sample without a throughput or a memory has no place', () => {
  const sample = (tokens_per_sec: number | null, vram_used_gb: number | null): ThroughputSample => ({ timestamp: null, step: 1, tokens_per_sec, vram_used_gb, vram_pct: null, batch_size: null, sequence_length: null });
  const samples = [sample(1, 2), sample(null, 2), sample(1, null)];
  assert.deepEqual(points(samples, 'vram_used_gb').map(({ x }) => x), [2]);
  assert.deepEqual(points(samples, 'step').map(({ x }) => x), [1, 1]);
});

test('an axis has room, round ticks inside it, and begins at zero where that is near', () => {
  assert.equal(reach([1, 10]).from, 0);
  assert.ok(reach([100, 101]).from > 99);
  const flat = reach([5, 5]);
  assert.ok(flat.from < 5 && flat.to > 5);
  for (const [from, to] of [[0, 10], [99.9, 101.1], [0.001, 0.0042], [12_000, 31_000]] as const) {
    const found = ticks({ from, to }, 5);
    assert.ok(found.length >= 2 && found.length <= 6, `${from} ${to}: ${found}`);
    assert.ok(found.every((value) => value >= from - 1e-9 && value <= to + 1e-9));
  }
  assert.deepEqual(ticks({ from: 1, to: 1 }, 5), []);
});

test('the nearest point is the one that is meant', () => {
  assert.equal(nearestPoint([{ x: 0, y: 0 }, { x: 10, y: 10 }], 8, 9), 1);
  assert.equal(nearestPoint([], 8, 9), null);
});
