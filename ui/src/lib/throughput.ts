/** Where the time of a step goes, and how fast steps were beside the memory in use. */
import type { SignalsNow, ThroughputSample } from './documents';

const PARTS = [
  { field: 'data_wait_share', label: 'waits for data', key: 'wait' },
  { field: 'forward_backward_share', label: 'forward and backward', key: 'compute' },
  { field: 'optimizer_share', label: 'optimizer', key: 'optimizer' },
] as const;

export interface Share {
  key: string;
  label: string;
  share: number;
}

/** The parts of a step, and what none of them claims; empty where no part is known. */
export function shares(signals: Pick<SignalsNow, (typeof PARTS)[number]['field']>): Share[] {
  const known = PARTS.flatMap(({ field, label, key }) => {
    const share = signals[field];
    return share === null || share < 0 ? [] : [{ key, label, share }];
  });
  if (!known.length) return [];
  const sum = known.reduce((total, { share }) => total + share, 0);
  if (sum < 0.995) return [...known, { key: 'rest', label: 'the rest', share: 1 - sum }];
  return known.map((each) => ({ ...each, share: each.share / Math.max(1, sum) })); // clocks of parts may overlap a little
}

/** Seconds as a person reads a step's: `12 ms`, `1.70 s`. */
export function saySeconds(seconds: number): string {
  if (seconds < 0.001) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 1) return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
}

/** A sample that has its place in the picture. */
export interface Point {
  x: number;
  y: number;
  sample: ThroughputSample;
}

/** What throughput is set beside. */
export type Beside = 'vram_used_gb' | 'step';

/** Samples with a throughput and what it is set beside. */
export function points(samples: readonly ThroughputSample[], beside: Beside): Point[] {
  return samples.flatMap((sample) => {
    const x = sample[beside];
    return x === null || sample.tokens_per_sec === null ? [] : [{ x, y: sample.tokens_per_sec, sample }];
  });
}

/** What an axis spans: the values with a little room, from zero where that is near. */
export function reach(values: readonly number[]): { from: number; to: number } {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
  const from = low - room;
  return { from: low >= 0 && (from < 0 || from < (high - low) * 0.15) ? 0 : from, to: high + room };
}

/** About `most` round values inside a span. */
export function ticks({ from, to }: { from: number; to: number }, most: number): number[] {
  const rough = (to - from) / Math.max(1, most);
  if (!(rough > 0) || !Number.isFinite(rough)) return [];
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 2.5, 5, 10].find((each) => each * unit >= rough * (1 - 1e-9)) ?? 10) * unit;
  const first = Math.ceil(from / step - 1e-9);
  return Array.from({ length: Math.max(0, Math.floor(to / step + 1e-9) - first + 1) }, (_, place) => (first + place) * step);
}

/** The point that is nearest on the screen. */
export function nearestPoint(placed: readonly { x: number; y: number }[], x: number, y: number): number | null {
  let best: number | null = null;
  let least = Infinity;
  for (const [place, point] of placed.entries()) {
    const far = (point.x - x) ** 2 + (point.y - y) ** 2;
    if (far < least) [best, least] = [place, far];
  }
  return best;
}
