import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exactMatchLines, MOST_LINES } from './lines.ts';

test('no two lines look the same, whatever tasks and levels there are', () => {
  for (const [tasks, levels] of [[1, 4], [2, 3], [6, 4], [8, 3]] as const) {
    const names = Array.from({ length: tasks * levels }, (_, at) => `exact_match/t${Math.floor(at / levels)}/l${at % levels}/plain`);
    const looks = exactMatchLines(names).map((line) => `${line.ink} ${line.dash}`);
    assert.equal(new Set(looks).size, Math.min(names.length, MOST_LINES));
  }
});

test('a part that all lines share is left out of their labels', () => {
  const labels = (...names: string[]) => exactMatchLines(names).map((line) => line.label);
  assert.deepEqual(labels('exact_match/syllo/easy/plain', 'exact_match/syllo/hard/plain'), ['syllo easy', 'syllo hard']);
  assert.deepEqual(labels('exact_match/syllo/easy/plain', 'exact_match/syllo/easy/think'), ['syllo plain', 'syllo think']);
  assert.deepEqual(labels('exact_match/syllo/easy/plain'), ['syllo easy plain']);
  assert.deepEqual(labels('loss', 'exact_match/binary'), ['binary']);
});
