import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configRows, flattened } from './config_diff.ts';
import { grouped, mainOf, matching, ranked, seldom, ofLayer } from './names.ts';
import { slots, SLOTS } from './slots.ts';
import { LADDER, rung, sayPoints } from './smoothing.ts';

test('every name is in one group, plain names come first and ranks last', () => {
  const names = ['train/lr', 'rank/0/loss', 'loss', 'eval/loss', 'grad_norm', 'train/a', '/odd', 'eval/层/1'];
  const groups = grouped(names);
  assert.deepEqual(groups.flatMap((group) => group.names).sort(), [...names].sort());
  assert.deepEqual(groups.map((group) => group.prefix), ['', 'eval', 'train', 'rank']);
  assert.equal(groups[0]?.names[0], 'loss');
});

test('a search finds the names that have all of its words', () => {
  assert.deepEqual(matching(['train/Loss', 'eval/loss', 'lr'], 'LOSS tr'), ['train/Loss']);
  assert.equal(matching(['a', 'b'], '  ').length, 2);
});

test('a metric that ranks log apart is known by its own name', () => {
  assert.deepEqual([...ranked(['rank/0/train/ms', 'rank/11/train/ms', 'rank/x/no', 'loss'])], ['train/ms']);
});

test('what is measured at checkpoints is told from what is logged at steps', () => {
  assert.deepEqual(['exact_match/syllo/easy/plain_sft', 'eval/loss', 'evaluation', 'loss', 'train/eval/x'].map(seldom), [true, true, false, false, false]);
});

test('a page opens with the loss, else with what is no evaluation', () => {
  assert.equal(mainOf(['a', 'loss']), 'loss');
  assert.equal(mainOf(['exact_match/x', 'rank/0/a', 'lr']), 'lr');
  assert.equal(mainOf(['exact_match/x']), 'exact_match/x');
  assert.equal(mainOf([]), 'loss');
});

test('no two of eight runs share a look, and a run keeps its look when others come and go', () => {
  const names = Array.from({ length: 40 }, (_, at) => `run-${at}`);
  let before = slots([], new Map());
  for (let at = 0; at + SLOTS <= names.length; at += 3) {
    const shown = names.slice(at, at + SLOTS);
    const next = slots(shown, before);
    assert.equal(new Set(next.values()).size, SLOTS);
    for (const run of shown) if (before.has(run)) assert.equal(next.get(run), before.get(run));
    before = next;
  }
  assert.deepEqual(slots(['a'], new Map()), slots(['a'], new Map()));
});

test('any weight stands on the nearest rung, nonsense on the default', () => {
  for (const weight of LADDER) assert.equal(rung(weight), weight);
  assert.equal(rung(0.95), 0.97);
  assert.equal(rung(0.5), 0.6);
  for (const nonsense of [7, 1, -1, NaN]) assert.equal(rung(nonsense), 0.9);
  assert.deepEqual(LADDER.map(sayPoints), ['off', '2.5 points', '10 points', '33 points', '100 points', '1000 points']);
});

test('settings are compared by their path, and what one run does not have is no value', () => {
  const rows = configRows(['{"lr": 1e-4, "lora": {"r": 8, "on": ["q", "v"]}}', '{"lr": 0.0001, "lora": {"r": 16, "on": ["q", "v"]}, "x": null}', null]);
  assert.deepEqual(
    rows.map(({ path, values, differs }) => [path, ...values, differs]),
    [['lora.on', '["q","v"]', '["q","v"]', null, true], ['lora.r', '8', '16', null, true], ['lr', '0.0001', '0.0001', null, true], ['x', null, 'null', null, true]],
  );
  assert.deepEqual([...flattened('no json')], [['(config)', 'no json']]);
  assert.equal(flattened('{"list": [{"a": 1}], "empty": {}}').get('list.0.a'), '1');
});

test('series of single layers are told from the others, those of ranks too, and no page opens with one', () => {
  assert.deepEqual(['layers/a.b/A/gradient_norm', 'rank/3/layers/x/weight_norm', 'loss', 'my/layers/x', 'layers'].map(ofLayer), [true, true, false, false, false]);
  assert.equal(mainOf(['layers/a/gradient_norm', 'accuracy']), 'accuracy');
});
