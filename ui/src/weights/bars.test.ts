import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearestBar, slots, type Bar } from './bars.ts';

function bars(blocks: number, rest = true): Bar[] {
  const bar = (layer: number): Bar => ({ layer, value: 1, tone: 'good', mark: null, said: '' });
  return [...Array.from({ length: blocks }, (_, layer) => bar(layer)), ...(rest ? [bar(-1)] : [])];
}

test('bars stay within the width, in order and without touching, and the rest stands apart', () => {
  for (const blocks of [1, 4, 28, 126, 400]) {
    for (const width of [250, 450, 1000]) {
      const found = slots(bars(blocks), width);
      for (const [place, { x, wide, middle }] of found.entries()) {
        assert.ok(wide > 0 && x >= 0 && x + wide <= width + 1e-6, `${blocks} in ${width}: ${x} ${wide}`);
        assert.ok(middle > x && middle < x + wide);
        const next = found[place + 1];
        if (next) assert.ok(next.x >= x + wide - 1e-6);
      }
      const [last, before, third] = [found.at(-1), found.at(-2), found.at(-3)];
      if (last && before && third) assert.ok(last.middle - before.middle > 1.5 * (before.middle - third.middle));
    }
  }
});

test('every bar is what the middle of its own room points at', () => {
  const found = slots(bars(28), 430);
  assert.deepEqual(found.map(({ middle }) => nearestBar(found, middle)), found.map((_, place) => place));
  assert.equal(nearestBar(found, -50), 0);
  assert.equal(nearestBar(found, 5000), 28);
});

test('no bars are no slots', () => assert.deepEqual(slots([], 300), []));
