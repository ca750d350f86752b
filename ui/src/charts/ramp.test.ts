import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { luminance, palette } from './ramp.ts';

const css = readFileSync(new URL('../app.css', import.meta.url), 'utf8');

/** The stops of a theme as app.css has them. */
function stops(theme: 0 | 1): string[] {
  return [0, 1, 2, 3, 4].map((place) => {
    const found = new RegExp(`--heat-${place}: light-dark\\((#[0-9a-f]{6}), (#[0-9a-f]{6})\\)`).exec(css);
    const hex = found?.[theme + 1] ?? '';
    return `rgb(${[1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)).join(', ')})`;
  });
}

function channels(fill: string): number[] {
  return (fill.match(/\d+/g) ?? []).map(Number);
}

for (const [theme, name] of [[0, 'light'], [1, 'dark']] as const) {
  test(`the scale of the ${name} theme goes one way in brightness, so no kind of colour blindness turns it round`, () => {
    const of = palette(stops(theme));
    const bright = Array.from({ length: 65 }, (_, at) => luminance(channels(of(at / 64).fill)));
    const sorted = bright.toSorted((a, b) => (theme === 0 ? b - a : a - b));
    assert.deepEqual(bright, sorted);
    assert.ok(Math.abs((bright[0] ?? 0) - (bright.at(-1) ?? 0)) > 0.6);
  });

  test(`a number on every shade of the ${name} theme can be read`, () => {
    const of = palette(stops(theme));
    for (let at = 0; at <= 64; at += 1) {
      const { fill, dark } = of(at / 64);
      const [one, other] = [luminance(channels(fill)), dark ? 1 : 0];
      const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
      assert.ok(ratio >= 4.5, `${fill}: ${ratio}`);
    }
  });
}

test('what is below and above the scale has the colour of its ends', () => {
  const of = palette(['rgb(0, 0, 0)', 'rgb(255, 255, 255)']);
  assert.equal(of(-1).fill, 'rgb(0 0 0)');
  assert.equal(of(7).fill, 'rgb(255 255 255)');
  assert.equal(of(0.5).fill, 'rgb(128 128 128)');
});
