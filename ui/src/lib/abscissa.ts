/** The x-axis in its three units: the step, the seconds that the run has trained, and the clock. */
import type { ActiveAlert, AttemptRow } from './documents';
import { clockTime, count, duration } from './format.ts';
import { firstNotBefore, type Held } from './held.ts';

export type Axis = 'step' | 'elapsed' | 'clock';
export const AXES: readonly Axis[] = ['step', 'elapsed', 'clock'];

export interface Span {
  from: number;
  to: number;
}

const kept = new WeakMap<Held, Map<Axis, number[]>>();

/** Where each bucket stands. Without a time it stands where the one before it does; x never goes back. */
export function abscissae(series: Held, axis: Axis): number[] {
  if (axis === 'step') return series.step;
  const own = kept.get(series) ?? new Map<Axis, number[]>();
  kept.set(series, own);
  const known = own.get(axis);
  if (known) return known;
  const found: number[] = [];
  let before = -Infinity;
  for (const time of series.time ?? []) {
    const x = time === null ? null : axis === 'clock' ? time : elapsed(time, series.attempts);
    if (x !== null && x > before) before = x;
    found.push(before);
  }
  const first = found.find((x) => x > -Infinity) ?? 0;
  const full = series.step.map((_, at) => Math.max(found[at] ?? first, first));
  own.set(axis, full);
  return full;
}

/** Seconds of training until `time`: its attempt is the last that had begun by then. */
export function elapsed(time: number, attempts: readonly AttemptRow[]): number | null {
  const row = attempts.findLast((each) => each.zero !== null && (each.started === null || Date.parse(each.started) / 1000 <= time + 1));
  const zero = (row ?? attempts.find((each) => each.zero !== null))?.zero ?? null;
  return zero === null ? null : time - zero;
}

/** The clock at `seconds` of training: of the last attempt that had begun by then. */
export function clockAt(seconds: number, attempts: readonly AttemptRow[]): number | null {
  const begun = (row: AttemptRow) => (row.started === null || row.zero === null ? 0 : Date.parse(row.started) / 1000 - row.zero);
  const known = attempts.filter((row) => row.zero !== null);
  const row = known.findLast((each) => begun(each) <= seconds + 1) ?? known[0];
  return row?.zero == null ? null : seconds + row.zero;
}

/** Where a step stands: with the bucket that holds it. */
export function placeOf(series: Held, axis: Axis, step: number): number | null {
  if (axis === 'step') return step;
  const at = Math.min(firstNotBefore(series.step, step), series.step.length - 1);
  return abscissae(series, axis)[at] ?? null;
}

/** Where an alert stands: at its step, or at its own time, as far as the line goes. */
export function placeOfAlert(series: Held, axis: Axis, { step, time }: Pick<ActiveAlert, 'step' | 'time'>): number | null {
  if (axis === 'step') return step;
  const all = abscissae(series, axis);
  const clock = Date.parse(time) / 1000;
  const own = axis === 'clock' ? clock : elapsed(clock, series.attempts);
  const [low, high] = [all[0], all.at(-1)];
  if (low === undefined || high === undefined || own === null || Number.isNaN(own)) return step === null ? null : placeOf(series, axis, step);
  return Math.min(high, Math.max(low, own));
}

/** The row of ascending `xs` that holds `x`: a bucket stands at its last step, so it is the first that is not before it; -1 when there are none. */
export function rowHolding(xs: readonly number[], x: number): number {
  return Math.min(firstNotBefore(xs, x), xs.length - 1);
}

/** A window of `factor` times the width, with `around` where it was. */
export function zoomed({ from, to }: Span, factor: number, around: number): Span {
  return { from: around - (around - from) * factor, to: around + (to - around) * factor };
}

/** The window moved into the whole; null if it is as wide. */
export function fitted(window: Span, whole: Span | null): Span | null {
  if (!whole) return window;
  const wide = window.to - window.from;
  if (wide >= whole.to - whole.from) return null;
  if (window.from < whole.from) return { from: whole.from, to: whole.from + wide };
  return window.to > whole.to ? { from: whole.to - wide, to: whole.to } : window;
}

/** The bucket of a line at `x`; null beyond its ends. */
export function bucketAt(series: Held, axis: Axis, x: number): number | null {
  const all = abscissae(series, axis);
  const at = firstNotBefore(all, x);
  if (at >= all.length) return null;
  if (at === 0 && x < (axis === 'step' ? (series.first[0] ?? 0) : (all[0] ?? 0))) return null;
  return at;
}

/** The first and the last x of a series; null while it is empty. */
export function extent(series: Held, axis: Axis): Span | null {
  const all = abscissae(series, axis);
  const to = all.at(-1);
  if (to === undefined) return null;
  if (axis === 'elapsed') return { from: Math.min(0, all[0] ?? 0), to };
  return { from: axis === 'step' ? (series.first[0] ?? to) : (all[0] ?? to), to };
}

/** A place on the axis in words. */
export function sayPlace(axis: Axis, x: number): string {
  if (axis === 'step') return `step ${count(x)}`;
  return axis === 'elapsed' ? `${duration(x)} in` : clockTime(x * 1000);
}

/** A window in words. */
export function sayWindow(axis: Axis, { from, to }: Span): string {
  if (axis === 'step') return `steps ${count(from)}–${count(to)}`;
  if (axis === 'elapsed') return `${duration(from)} to ${duration(to)} of training`;
  return `${clockTime(from * 1000)} to ${clockTime(to * 1000)}`;
}
