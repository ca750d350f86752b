import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alertFigure, checkpointKey, labelled, layerName, looked, percents, rungs, sayCell, shade, sortedTensors, standing } from './checkpoints.ts';
import type { Checkpoints, CheckpointWeights, TensorDrift, WeightAlert } from './documents';

function row(name: string, more: Partial<CheckpointWeights> = {}): CheckpointWeights {
  return {
    id: `id-${name}-${more.attempt ?? 1}`, name, step: 1, attempt: 1, path: `/out/${name}`, saved: null, superseded: false, state: 'analysed', reason: null,
    analysed: null, seconds: null, reference: 'base', reference_origin: 'named', adapter: false, total_relative_change: 0.01, band: 'normal', pattern: 'uniform',
    health: 'healthy', alerts: 0, relative_change: [0.012, null], colours: ['green', null], weight_norm: [1, null], ...more,
  };
}

function list(checkpoints: CheckpointWeights[], newest: string | null): Checkpoints {
  return { run: 'r', layers: [3, -1], checkpoints, newest, jobs: { watching: true, pending: 0, running: 0, failed: 0 }, yellow_from: 0.03, red_above: 0.1, policy: 'default', timestamp: '' };
}

function tensor(name: string, more: Partial<TensorDrift>): TensorDrift {
  return {
    tensor: name, state: 'compared', dtype: 'F32', shape: [2, 2], elements: 4, relative_change: 0.1, delta_norm: 1, reference_norm: 1, current_norm: 1,
    fraction_changed: 1, max_abs_weight: 1, min_abs_weight: 1, non_finite: 0, zero_fraction: 0, zero_rows: 0, ...more,
  };
}

test('the newest that was read is looked at until another is chosen, and a later one does not take its place', () => {
  const rows = [row('checkpoint-1'), row('checkpoint-2'), row('checkpoint-3', { state: 'planned' })];
  assert.equal(looked(list(rows, 'id-checkpoint-2-1'), null)?.name, 'checkpoint-2');
  const later = [...rows, row('checkpoint-4')];
  assert.equal(looked(list(later, 'id-checkpoint-4-1'), null)?.name, 'checkpoint-4');
  assert.equal(looked(list(later, 'id-checkpoint-4-1'), 'checkpoint-1')?.name, 'checkpoint-1');
  assert.equal(looked(list(later, 'id-checkpoint-4-1'), 'checkpoint-99')?.name, 'checkpoint-4');
  assert.equal(looked(list([row('checkpoint-9', { state: 'failed' })], null), null)?.name, 'checkpoint-9');
  assert.equal(looked(list([], null), null), null);
});

test('a name that two checkpoints share does not tell which is meant, so the address has the id', () => {
  const rows = [row('checkpoint-1'), row('checkpoint-2', { attempt: 1 }), row('checkpoint-2', { attempt: 2 })];
  assert.deepEqual(rows.map((each) => checkpointKey(each, rows)), ['checkpoint-1', 'id-checkpoint-2-1', 'id-checkpoint-2-2']);
  assert.equal(looked(list(rows, null), 'id-checkpoint-2-1')?.attempt, 1);
});

test('a change keeps three digits, whatever its size, and zero is zero', () => {
  const said = [1.9588913, 0.5350418, 0.0414456, 0.0019245, 0.000192454, 0.0000054, 0, 15.5, 0.09996];
  assert.deepEqual(said.map(percents), ['196 %', '53.5 %', '4.14 %', '0.192 %', '0.0192 %', '5.40e−4 %', '0 %', '1,550 %', '10.0 %']);
});

test('a cell without a number says why, and never 0 %', () => {
  const all = list([row('checkpoint-400'), row('b', { state: 'failed', reason: 'it ends early', relative_change: [], colours: [] }), row('c', { relative_change: [], colours: [] })], null);
  const [read, failed, alone] = all.checkpoints as [CheckpointWeights, CheckpointWeights, CheckpointWeights];
  assert.equal(sayCell(all, read, 0), 'checkpoint-400, layer 3: 1.20 %, green');
  assert.equal(sayCell(all, read, 1), 'checkpoint-400, embeddings and the rest: no finite number');
  assert.equal(sayCell(all, failed, 0), 'b: could not be read (it ends early)');
  assert.equal(sayCell(all, alone, 0), 'c: read, compared with nothing');
  assert.equal(standing(alone), 'alone');
  assert.equal(sayCell(all, { ...read, superseded: true }, 0), 'checkpoint-400, layer 3: 1.20 %, green; superseded by a newer attempt');
});

test('layers are counted, and the rest is called by its name', () => {
  assert.deepEqual([0, 27, -1].map(layerName), ['layer 0', 'layer 27', 'embeddings and the rest']);
});

test('tensors stand by their change, those that are not finite first and those without a change last', () => {
  const found = sortedTensors(
    [tensor('small', { relative_change: 0.01 }), tensor('int', { relative_change: null, state: 'integer', non_finite: null }), tensor('large', { relative_change: 2 }), tensor('nan', { relative_change: null, non_finite: 3 })],
    'relative_change',
    true,
  );
  assert.deepEqual(found.map((each) => each.tensor), ['nan', 'large', 'small', 'int']);
  const rising = sortedTensors(found, 'relative_change', false);
  assert.deepEqual(rising.map((each) => each.tensor), ['small', 'large', 'nan', 'int']);
  const named = sortedTensors([tensor('l.10.w', {}), tensor('l.9.w', {})], 'tensor', false);
  assert.deepEqual(named.map((each) => each.tensor), ['l.9.w', 'l.10.w']);
});

test('an alert is said in the unit of its rule', () => {
  const alert = (type: WeightAlert['type']): WeightAlert => ({ layer: 1, type, severity: 'warning', value: 0.0078125, threshold: 0.001, message: '', cause: '', action: '' });
  assert.equal(alertFigure(alert('zero_rows'), 0.0078125), '0.781 %');
  assert.equal(alertFigure(alert('spike'), 3.25), '× 3.250');
  assert.equal(alertFigure(alert('non_finite'), 12), '12');
  assert.equal(alertFigure(alert('exploding'), null, 'it is infinite'), '∞');
});

test('the rungs of an axis begin at zero, reach the top, and are few', () => {
  for (let at = -40; at <= 40; at += 1) {
    const top = 1.37 * 10 ** (at / 4);
    const found = rungs(top);
    assert.equal(found[0], 0);
    assert.ok((found.at(-1) ?? 0) >= top * (1 - 1e-6), `${top}: ${found}`);
    assert.ok(found.length >= 2 && found.length <= 5, `${top}: ${found}`);
  }
  assert.deepEqual(rungs(0.061), [0, 0.025, 0.05, 0.07500000000000001]);
  assert.deepEqual(rungs(0), [0, 1]);
});

test('labels never stand closer than they are wide', () => {
  for (const length of [1, 4, 29, 127, 500]) {
    for (const has of [1.5, 4, 11, 30, 90]) {
      const found = labelled(length, has, 26);
      assert.equal(found[0], 0);
      assert.ok(found.every((place, at) => at === 0 || (place - (found[at - 1] ?? 0)) * has >= 26));
      assert.ok(found.every((place) => place < length));
    }
  }
});

test('a larger change never has a paler cell', () => {
  const shades = [0, 0.001, 0.01, 0.1, 1, 2].map((value) => shade(value, 2));
  assert.deepEqual(shades, shades.toSorted((a, b) => a - b));
  assert.equal(shades[0], 0);
  assert.equal(shades.at(-1), 1);
  assert.equal(shade(0, 0), 0);
});
