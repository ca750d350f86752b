/** A series document as the columns that a chart draws, and as the rows that a table shows. */
import { abscissae, type Axis, type Span } from './abscissa.ts';
import { numeric } from './format.ts';
import type { AttemptRow, NonFinitePoint } from './documents';
import { firstNotBefore, type Column, type Held } from './held.ts';

export type Scale = 'linear' | 'log';

/** Columns of one length: the x of a bucket is that of its last step, where its smoothed value stands. */
export interface Curve {
  x: number[];
  low: Column;
  high: Column;
  mean: Column;
  smoothed: Column;
  /** The x of buckets with a value that a logarithmic axis cannot show. */
  notPositive: number[];
}

/** The greatest size that is drawn as it is: of two such values of opposite sign the distance is still a number. */
const FARTHEST = 8e307;
const EDGE = Number.MAX_VALUE / 2;

export function curve(series: Held, scale: Scale, axis: Axis): Curve {
  const positive = (value: number | null) => (value !== null && value > 0 ? value : null);
  const bounded = (value: number | null) => (value === null ? null : Math.min(FARTHEST, Math.max(-FARTHEST, value)));
  const shown = (column: Column) => column.map((value) => bounded(scale === 'log' ? positive(value) : value));
  const high = shown(series.maximum);
  const x = abscissae(series, axis);
  return {
    x,
    // the band of a bucket that reaches below zero begins at its mean, or its greatest value
    low: shown(series.minimum).map((low, at) => low ?? positiveOf(series.mean[at], high[at])),
    high,
    mean: shown(series.mean),
    smoothed: shown(series.smoothed),
    notPositive: scale === 'log' ? x.filter((_, at) => (series.minimum[at] ?? 1) <= 0) : [],
  };
}

/** What a y-axis spans, with a little room: always two finite numbers whose distance is one too. */
export function valueRange(low: number | null, high: number | null, scale: Scale): [number, number] {
  if (low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high)) return scale === 'log' ? [0.1, 10] : [0, 1];
  if (scale === 'log') return [Math.max(Number.MIN_VALUE, low / 1.12), Math.min(EDGE, high * 1.12)];
  const room = (high / 2 - low / 2) * 0.12 || Math.abs(high) * 0.1 || 1;
  return [Math.max(-EDGE, low - room), Math.min(EDGE, high + room)];
}

function positiveOf(mean: number | null | undefined, high: number | null | undefined): number | null {
  if (mean !== null && mean !== undefined && mean > 0) return mean;
  return high ?? null;
}

/** A start of the run that left a mark on the curve. */
export interface Start {
  step: number;
  attempt: number;
  /** How far an older attempt had come, where this one went back behind it. */
  rewoundFrom: number | null;
}

/** Every start but the first whose points are not all hidden by a newer one, oldest first. */
export function starts(attempts: AttemptRow[]): Start[] {
  let reached = -1;
  const found: Start[] = [];
  for (const row of attempts) {
    const first = row.first_step;
    const hidden = first !== null && row.shown_until !== null && row.shown_until <= first;
    if (first !== null && !hidden && reached >= 0) {
      found.push({ step: first, attempt: row.attempt, rewoundFrom: reached >= first ? reached : null });
    }
    reached = Math.max(reached, row.last_step ?? -1);
  }
  return found;
}

/** Where the line stops on an axis of time: from the last bucket before an attempt to the one that it begins in. */
export function breaks(series: Held, axis: Axis): Span[] {
  if (axis === 'step') return [];
  const x = abscissae(series, axis);
  return starts(series.attempts).flatMap(({ step }) => {
    const at = firstNotBefore(series.step, step);
    const [from, to] = [x[at - 1], x[at]];
    return from === undefined || to === undefined ? [] : [{ from, to }];
  });
}

/** NaN, +∞, −∞; `some` is any of them, where the server counts points that it does not list. */
export type NotFinite = 'nan' | 'up' | 'down' | 'some';

/** Where a value that no line can show is marked. */
export interface Mark {
  step: number;
  kind: NotFinite;
  /** The last finite value before it; null where there is none. */
  after: number | null;
}

/** Each listed point that is not finite; behind the end of the list one mark for each bucket that has some. */
export function notFinite(series: Held): Mark[] {
  const marks: Mark[] = series.non_finite.map(({ step, value, after }) => ({ step, kind: kindOf(value), after }));
  if (series.non_finite_count <= series.non_finite.length) return marks;
  const listed = marks.at(-1)?.step ?? -Infinity;
  let after: number | null = null;
  for (const [at, step] of series.step.entries()) {
    after = series.last[at] ?? after;
    if (step > listed && series.non_finite_in_bucket[at]) marks.push({ step, kind: 'some', after });
  }
  return marks;
}

/** How many points of other ranks are not finite in a bucket; those of the run's own rank are marked on its line. */
export function notFiniteElsewhere(series: Held, at: number): number {
  return Math.max(0, (series.ranks?.non_finite[at] ?? 0) - (series.non_finite_in_bucket[at] ?? 0));
}

function kindOf(value: NonFinitePoint['value']): NotFinite {
  const number = numeric(value);
  if (Number.isNaN(number)) return 'nan';
  return number > 0 ? 'up' : 'down';
}

/** How many NaN, +∞ and −∞ points are listed, and how many are not. */
export function kinds(series: Held): Record<NotFinite, number> {
  const found = { nan: 0, up: 0, down: 0, some: Math.max(0, series.non_finite_count - series.non_finite.length) };
  for (const { value } of series.non_finite) found[kindOf(value)] += 1;
  return found;
}

/** Where the line ends now; null where its newest point is not finite: a value from before is no place for a pen. */
export function penPoint(series: Held): { step: number; value: number } | null {
  const at = series.step.length - 1;
  const step = series.step[at];
  const value = series.smoothed[at] ?? null;
  if (step === undefined || value === null) return null;
  return notFinite(series).at(-1)?.step === step ? null : { step, value };
}

export interface Row {
  first: number;
  last: number;
  low: number | null;
  high: number | null;
  mean: number | null;
  smoothed: number | null;
  count: number;
  nonFinite: number;
}

/** At most `limit` rows: neighbours are joined by their extremes and weighted mean, so no spike is lost. */
export function tableRows(series: Held, limit: number): Row[] {
  const each = Math.max(1, Math.ceil(series.step.length / limit));
  const rows: Row[] = [];
  for (let from = 0; from < series.step.length; from += each) {
    rows.push(joined(series, from, Math.min(from + each, series.step.length)));
  }
  return rows;
}

/** The buckets `from` until `until` as one row. */
export function joined(series: Held, from: number, until: number): Row {
  const first = series.first[from] ?? 0;
  const last = series.step[until - 1] ?? first;
  let low: number | null = null;
  let high: number | null = null;
  let mean: number | null = null;
  let weight = 0;
  let points = 0;
  let nonFinite = 0;
  let smoothed: number | null = null;
  for (let at = from; at < until; at += 1) {
    const least = series.minimum[at] ?? null;
    const greatest = series.maximum[at] ?? null;
    const own = series.mean[at] ?? null;
    const bad = series.non_finite_in_bucket[at] ?? 0;
    const size = (series.count[at] ?? 0) - bad;
    if (least !== null && (low === null || least < low)) low = least;
    if (greatest !== null && (high === null || greatest > high)) high = greatest;
    if (own !== null) {
      weight += size;
      // shares that sum to one: a plain sum of great losses would not be finite
      mean = mean === null ? own : mean * ((weight - size) / weight) + own * (size / weight);
    }
    points += size + bad;
    nonFinite += bad;
    smoothed = series.smoothed[at] ?? smoothed;
  }
  return {
    first,
    last,
    low,
    high,
    mean,
    smoothed,
    count: points,
    nonFinite,
  };
}

/** The index of the entry of ascending `steps` nearest to `step`; -1 when there are none. */
export function nearest(steps: number[], step: number): number {
  let low = 0;
  let high = steps.length - 1;
  if (high < 0) return -1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((steps[middle] ?? 0) < step) low = middle + 1;
    else high = middle;
  }
  const above = steps[low] ?? 0;
  const below = steps[low - 1];
  return below !== undefined && step - below <= above - step ? low - 1 : low;
}

const MANTISSAS: readonly (readonly number[])[] = [[1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8], [1, 1.5, 2, 3, 5, 7], [1, 2, 5], [1]];
const MOST_TICKS = 9;

/** Round values between `low` and `high`, both positive: the densest set that an axis has room for. */
export function logTicks(low: number, high: number): number[] {
  const first = Math.floor(Math.log10(low));
  const last = Math.ceil(Math.log10(high));
  const every = Math.max(1, Math.ceil((last - first) / MOST_TICKS));
  let ticks: number[] = [];
  for (const mantissas of MANTISSAS) {
    ticks = [];
    for (let power = first; power <= last; power += mantissas.length === 1 ? every : 1) {
      for (const mantissa of mantissas) {
        const value = Number(`${mantissa}e${power}`);
        if (value >= low && value <= high) ticks.push(value);
      }
    }
    if (ticks.length <= MOST_TICKS) break;
  }
  return ticks.length ? ticks : [low, high];
}
