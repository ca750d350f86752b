/** A series document as the columns that a chart draws, and as the rows that a table shows. */
import { numeric } from './format.ts';
import type { AttemptRow, NonFinitePoint, Series } from './documents';

export type Column = (number | null)[];

/** Columns of one length: the x of a bucket is its last step, where its smoothed value stands. */
export interface Curve {
  step: number[];
  low: Column;
  high: Column;
  mean: Column;
  smoothed: Column;
  /** Buckets with a value that a logarithmic axis cannot show. */
  notPositive: number[];
}

export function curve(series: Series, scale: 'linear' | 'log'): Curve {
  const positive = (value: number | null) => (value !== null && value > 0 ? value : null);
  const shown = (column: Column) => (scale === 'log' ? column.map(positive) : column);
  const high = shown(series.maximum);
  return {
    step: series.step,
    // the band of a bucket that reaches below zero begins at its mean, or its greatest value
    low: shown(series.minimum).map((low, at) => low ?? positiveOf(series.mean[at], high[at])),
    high,
    mean: shown(series.mean),
    smoothed: shown(series.smoothed),
    notPositive: scale === 'log' ? series.step.filter((_, at) => (series.minimum[at] ?? 1) <= 0) : [],
  };
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

/** Every start but the first, oldest first. */
export function starts(attempts: AttemptRow[]): Start[] {
  let reached = -1;
  const found: Start[] = [];
  for (const row of attempts) {
    if (row.first_step !== null && reached >= 0) {
      found.push({
        step: row.first_step,
        attempt: row.attempt,
        rewoundFrom: reached >= row.first_step ? reached : null,
      });
    }
    reached = Math.max(reached, row.last_step ?? -1);
  }
  return found;
}

/** How many NaN, +∞ and −∞ points are listed. */
export function kinds(points: NonFinitePoint[]): { nan: number; up: number; down: number } {
  const found = { nan: 0, up: 0, down: 0 };
  for (const point of points) {
    const value = numeric(point.value);
    if (Number.isNaN(value)) found.nan += 1;
    else if (value > 0) found.up += 1;
    else found.down += 1;
  }
  return found;
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
export function tableRows(series: Series, limit: number): Row[] {
  const each = Math.max(1, Math.ceil(series.step.length / limit));
  const rows: Row[] = [];
  for (let from = 0; from < series.step.length; from += each) {
    rows.push(joined(series, from, Math.min(from + each, series.step.length)));
  }
  return rows;
}

/** The buckets `from` until `until` as one row. */
export function joined(series: Series, from: number, until: number): Row {
  const first = series.first[from] ?? 0;
  const last = series.step[until - 1] ?? first;
  let low: number | null = null;
  let high: number | null = null;
  let sum = 0;
  let weight = 0;
  let points = 0;
  let smoothed: number | null = null;
  for (let at = from; at < until; at += 1) {
    const least = series.minimum[at] ?? null;
    const greatest = series.maximum[at] ?? null;
    const mean = series.mean[at] ?? null;
    const size = series.count[at] ?? 0;
    if (least !== null && (low === null || least < low)) low = least;
    if (greatest !== null && (high === null || greatest > high)) high = greatest;
    if (mean !== null) {
      sum += mean * size;
      weight += size;
    }
    points += size;
    smoothed = series.smoothed[at] ?? smoothed;
  }
  return {
    first,
    last,
    low,
    high,
    mean: weight > 0 ? sum / weight : null,
    smoothed,
    count: points,
    nonFinite: series.non_finite.filter((point) => point.step >= first && point.step <= last).length,
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
