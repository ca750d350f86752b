import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LayerRow } from './documents';
import { blockOf, brief, decades, isGrouped, joinedCell, labelParts, linesOf, sayTroubles, shareOf, sharedPrefix, statusOf } from './layers.ts';

function modules(blocks: number, each: number): string[] {
  return Array.from({ length: blocks * each }, (_, at) => `base.model.layers.${Math.floor(at / each)}.attn.p${at % each}`);
}

function row(status: LayerRow['status']): LayerRow {
  return { module: 'm', status } as LayerRow;
}

test('few modules stand by themselves, many under their blocks, and none is lost', () => {
  assert.deepEqual(linesOf(modules(4, 5), new Set()).map(({ kind }) => kind), Array(20).fill('module'));
  const many = ['model.embed', ...modules(56, 7), 'lm_head'];
  assert.ok(isGrouped(many));
  const closed = linesOf(many, new Set());
  assert.equal(closed.length, 58);
  assert.deepEqual(closed.flatMap((line) => line.modules), many);
  const opened = linesOf(many, new Set(['3']));
  assert.equal(opened.length, 58 + 7);
  assert.deepEqual(opened.filter((line) => line.block === '3').map((line) => line.label), ['block 3', ...many.filter((module) => blockOf(module) === '3')]);
});

test('blocks that are modules themselves need no group', () => {
  const blocks = Array.from({ length: 80 }, (_, at) => `model.layers.${at}`);
  assert.equal(isGrouped(blocks), false);
  assert.deepEqual(linesOf(blocks, new Set()).slice(0, 2).map(({ label }) => label), ['model.layers.0', 'model.layers.1']);
});

test('a name is parted at its block, and its parts are the whole of it', () => {
  assert.deepEqual(labelParts('model.layers.12.self_attn.q_proj', 'model.layers.'), ['', '12.', 'self_attn.', 'q_proj']);
  assert.deepEqual(labelParts('model.layers.12.self_attn.q_proj', ''), ['model.layers.', '12.', 'self_attn.', 'q_proj']);
  assert.deepEqual(labelParts('model.layers.3', ''), ['model.layers.', '3', '', '']);
  assert.deepEqual(labelParts('model.embed_tokens', ''), ['', '', 'model.', 'embed_tokens']);
  assert.deepEqual([blockOf('model.layers.12.self_attn.q_proj'), blockOf('lm_head')], ['12', null]);
});

test('no two modules are called alike, and each as it is called elsewhere', () => {
  const four = [0, 1, 2, 3].flatMap((block) => ['q', 'v'].map((kind) => `base.model.layers.${block}.self_attn.${kind}_proj`));
  for (const names of [four, [...four, 'lm_head', 'base.model.embed_tokens', 'embed_tokens']]) {
    const prefix = sharedPrefix(names);
    const said = names.map((name) => labelParts(name, prefix).join(''));
    assert.equal(new Set(said).size, names.length);
    assert.deepEqual(said, names.map((name) => brief(name, prefix)));
  }
});

test('norms of modules are joined as norms are, a ratio by its greatest, and a NaN stays', () => {
  assert.equal(joinedCell([3, 4, null], 'gradient_norm'), 5);
  assert.equal(joinedCell([0.3, 0.4], 'update_ratio'), 0.4);
  assert.ok(Number.isNaN(joinedCell([1, 'NaN'], 'gradient_norm')));
  assert.equal(joinedCell([1, 'Infinity'], 'gradient_norm'), Infinity);
  assert.equal(joinedCell([null, null], 'gradient_norm'), null);
  assert.equal(joinedCell([0, 0], 'gradient_norm'), 0);
});

test('the scale leaves out zeros and what is not finite, and reaches no further from the median than it may', () => {
  assert.deepEqual(decades([0, Number.NaN, Infinity, null, 0.1, 10], 1e6), { low: 0.1, high: 10 });
  assert.deepEqual(decades([1e-30, 1, 1, 1, 1e9], 100), { low: 0.01, high: 100 });
  assert.equal(decades([0, null], 10), null);
  assert.equal(shareOf(1, { low: 0.1, high: 10 }), 0.5);
  assert.deepEqual([0.01, 0.1, 10, 99].map((value) => shareOf(value, { low: 0.1, high: 10 })), [0, 0, 1, 1]);
  assert.equal(shareOf(2, { low: 2, high: 2 }), 0.5, 'where all are alike none is the greatest');
});

test('a block is as its gravest module, and says how many are in trouble', () => {
  const rows = [row('active'), row('dead'), row('dead'), row('exploding')];
  assert.equal(statusOf(rows), 'exploding');
  assert.equal(sayTroubles(rows), '1 exploding, 2 dead');
  assert.equal(sayTroubles([row('dead')]), 'dead');
  assert.equal(sayTroubles([row('active'), row('starting')]), '');
  assert.equal(statusOf([]), 'unknown');
});

test('what all names begin with ends at a point', () => {
  assert.equal(sharedPrefix(['a.b.c1', 'a.b.c2']), 'a.b.');
  assert.equal(sharedPrefix(['a.b', 'c']), '');
  assert.equal(sharedPrefix(['only.one']), '');
});
