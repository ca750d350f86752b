import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ago, bytes, count, duration, numeric, percent, short, tick } from './format.ts';

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
