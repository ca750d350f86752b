import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ago, bytes, clockTicks, clockTime, count, duration, elapsedTicks, noNumber, numeric, percent, progressed, short, spelled, tick, zone } from './format.ts';

test('the three spellings are numbers again and nothing else becomes one', () => {
  assert.ok(Number.isNaN(numeric('NaN')));
  assert.equal(numeric('Infinity'), Infinity);
  assert.equal(numeric('-Infinity'), -Infinity);
});

test('a number has four significant digits, a minus sign, and says when it is none', () => {
  const cases: [Parameters<typeof short>[0], string][] = [
    [0, '0'], [0.71234567, '0.7123'], [12.3456, '12.35'], [2450, '2,450'], [123456.7, '123,457'], [-1.5, '−1.500'],
    [-0.25, '−0.2500'], [0.00013, '1.30e−4'], [1.5e7, '1.50e7'], ['NaN', 'NaN'], ['-Infinity', '−∞'], ['Infinity', '+∞'],
  ];
  for (const [value, text] of cases) assert.equal(short(value), text);
});

test('a short number read back is within half a percent of what it was', () => {
  for (let at = -30; at <= 30; at += 1) {
    const value = 1.23456789 * 10 ** (at / 5);
    const back = Number(short(value).replaceAll(',', '').replace('−', '-'));
    assert.ok(Math.abs(back / value - 1) < 5e-3, `${value} became ${short(value)}`);
  }
});

test('no digit is claimed that a browser does not have', () => {
  assert.equal(count(2 ** 53 - 1), '9,007,199,254,740,991');
  assert.equal(count(9_223_372_036_854_775_807), '≈ 9.22337e18');
});

test('ticks carry no digits that say nothing', () => {
  assert.deepEqual([0, 0.1, 0.25, 2, 1e-5, 2e6].map(tick), ['0', '0.1', '0.25', '2', '1e-5', '2e6']);
});

test('a duration has at most two units and no empty one', () => {
  const cases: [number, string][] = [[0, '0 s'], [59.6, '1 min'], [61, '1 min 1 s'], [7200, '2 h'], [8100, '2 h 15 min'], [90_061, '1 d 1 h'], [86_460, '1 d']];
  for (const [seconds, text] of cases) assert.equal(duration(seconds), text);
});

test('the future is now: clocks differ', () => {
  assert.equal(ago(-5), 'now');
  assert.equal(ago(12), '12 s ago');
  assert.equal(ago(3 * 86_400), '3 d ago');
});

test('sizes are in powers of 1000', () => {
  assert.deepEqual([0, 999, 1000, 483_220, 2.5e9].map(bytes), ['0 B', '999 B', '1.0 kB', '483 kB', '2.5 GB']);
  assert.equal(percent(0.985, 1), '98.5 %');
});

test('no two ticks of elapsed time read alike, however close they stand or late they come', () => {
  for (const start of [0, 59, 3600, 90_000]) {
    for (const increment of [0.01, 0.1, 0.5, 1, 5, 60, 900, 3600, 86_400]) {
      const splits = Array.from({ length: 6 }, (_, at) => start - (start % increment) + at * increment);
      const said = elapsedTicks(splits, increment);
      assert.equal(new Set(said).size, said.length, `${increment} from ${start}: ${said}`);
    }
  }
  assert.deepEqual(elapsedTicks([0, 0.5, 1], 0.5), ['0.0 s', '0.5 s', '1.0 s']);
});

test('a clock tick is hours, minutes and seconds, with the date where a day begins', () => {
  const midnight = new Date(2020, 10, 21).getTime() / 1000;
  assert.deepEqual(clockTicks([midnight - 30, midnight - 15, midnight], 15), ['23:59:30\n20 Nov 2020', '23:59:45', '00:00:00\n21 Nov 2020']);
  assert.deepEqual(clockTicks([midnight + 3600], 3600), ['01:00\n21 Nov 2020']);
  assert.ok(clockTime(midnight * 1000).endsWith(zone(midnight * 1000)) && zone(midnight * 1000) !== '');
});

test('an infinity is spelled out, and nothing else is', () => {
  assert.deepEqual(['Infinity', '-Infinity', 'NaN', 0.5].map((value) => spelled(value as Parameters<typeof spelled>[0])), ['+Infinity', '-Infinity', 'NaN', short(0.5)]);
});

test('a part is never all of it, and a whole is', () => {
  assert.deepEqual([0, 0.0499, 0.29, 499 / 500, 1 - 1e-15, 1].map(progressed), ['0.0 %', '4.9 %', '29 %', '99 %', '99 %', '100 %']);
});

test('a reason tells a value that is no number from one that is missing', () => {
  assert.deepEqual(['it is NaN', 'it is Infinity', 'it is -Infinity'].map(noNumber), ['NaN', '+∞', '−∞']);
  assert.deepEqual(['not known yet at step 5', 'it is NaN at step 5', 'it is 7', '', undefined].map(noNumber), Array(5).fill(null));
});
