import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ALL, exactMatchLines, MOST_LINES, regimes, regimeShown } from './lines.ts';

function names(tasks: number, levels: number, formats: string[]): string[] {
  return Array.from({ length: tasks }, (_, task) =>
    Array.from({ length: levels }, (_, level) => formats.map((format) => `exact_match/t${task}/l${level}/${format}`)),
  ).flat(2);
}

const DEMO = [
  ...['1/emoji_think', '1/plain_sft', '1/regime3', '2/plain_sft', '3/plain_sft', '4/plain_sft'].map((rest) => `exact_match/binary/${rest}`),
  ...['easy/emoji_think', 'easy/plain_sft', 'easy/regime3', 'edge/plain_sft', 'hard/plain_sft', 'medium/plain_sft'].map((rest) => `exact_match/syllo/${rest}`),
  'loss',
];

test('no two lines shown share both ink and dash, whatever tasks, levels and regimes there are', () => {
  const formats = ['emoji_think', 'plain_sft', 'regime3'];
  for (let tasks = 1; tasks <= 9; tasks += 1) {
    for (let levels = 1; levels <= 9; levels += 1) {
      for (const regime of [...formats, ALL]) {
        const lines = exactMatchLines(names(tasks, levels, formats), regime);
        const wanted = tasks * levels * (regime === ALL ? 3 : 1);
        assert.equal(lines.length, Math.min(wanted, MOST_LINES));
        assert.equal(new Set(lines.map((line) => `${line.ink} ${line.dash}`)).size, lines.length, `${tasks} x ${levels}, ${regime}`);
        assert.equal(new Set(lines.map((line) => `${line.group} ${line.within}`)).size, lines.length);
      }
    }
  }
});

test('a line of a run with few levels and tasks looks the same alone and among all regimes', () => {
  const all = new Map(exactMatchLines(DEMO, ALL).map((line) => [line.name, line]));
  assert.equal(all.size, 12);
  for (const line of exactMatchLines(DEMO, 'plain_sft')) {
    assert.equal(line.ink, all.get(line.name)?.ink);
    assert.deepEqual(line.dash, all.get(line.name)?.dash);
  }
});

test('lines go by task and from the easiest level on, and lines of one task differ in colour', () => {
  const lines = exactMatchLines(DEMO, 'plain_sft');
  const order = ['binary 1', 'binary 2', 'binary 3', 'binary 4', 'syllo easy', 'syllo medium', 'syllo hard', 'syllo edge'];
  assert.deepEqual(lines.map((line) => line.label), order);
  for (const task of ['binary', 'syllo']) {
    const own = lines.filter((line) => line.group === task);
    assert.equal(new Set(own.map((line) => line.ink)).size, 4);
    assert.equal(new Set(own.map((line) => String(line.dash))).size, 1);
  }
});

test('the plain regime is the one that is shown unless another that is there, or all, is wanted', () => {
  const present = regimes(DEMO);
  assert.deepEqual(present, ['plain_sft', 'emoji_think', 'regime3']);
  assert.equal(regimeShown(present, null), 'plain_sft');
  assert.equal(regimeShown(present, 'regime3'), 'regime3');
  assert.equal(regimeShown(present, ALL), ALL);
  assert.equal(regimeShown(present, 'nonsense'), 'plain_sft');
  assert.equal(regimeShown([], null), ALL);
});

test('a part that all lines share is left out of their labels', () => {
  const labels = (...series: string[]) => exactMatchLines(series, ALL).map((line) => line.label);
  assert.deepEqual(labels('exact_match/syllo/easy/plain', 'exact_match/syllo/hard/plain'), ['syllo easy', 'syllo hard']);
  assert.deepEqual(labels('exact_match/syllo/easy/plain', 'exact_match/syllo/easy/think'), ['syllo plain', 'syllo think']);
  assert.deepEqual(labels('exact_match/syllo/easy/plain'), ['syllo easy plain']);
  assert.deepEqual(labels('loss', 'exact_match/binary'), ['binary']);
});
