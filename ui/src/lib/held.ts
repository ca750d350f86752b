/** A series as the page holds it: what the server sent at first, with every later part put in its place. */
import type { AttemptRow, NonFinitePoint, Ranks, Series, SeriesSet } from './documents';

export type Column = (number | null)[];

/** All columns have one entry per bucket. */
export interface Held {
  run: string;
  name: string;
  smoothing: number;
  attempts: AttemptRow[];
  /** What to send to get only what is new. */
  cursor: string;
  /** Steps per bucket. */
  width: number;
  first: number[];
  step: number[];
  minimum: Column;
  maximum: Column;
  mean: Column;
  last: Column;
  /** The moving average; the mean itself where nothing is smoothed. */
  smoothed: Column;
  count: number[];
  non_finite_in_bucket: number[];
  non_finite: NonFinitePoint[];
  non_finite_count: number;
  points: number;
  hidden_points: number;
  /** Unix seconds of each bucket's last row; null where times were not asked for. */
  time: Column | null;
  ranks: Ranks | null;
}

const MOST_LISTED = 1000;

/** The answer as columns; a part replaces every bucket of `before` from its first step on. */
export function held(set: SeriesSet, series: Series, before: Held | null): Held {
  const sent: Held = {
    run: set.run,
    name: series.name,
    smoothing: set.smoothing,
    attempts: set.attempts,
    cursor: series.cursor,
    width: series.width,
    first: series.first,
    step: series.step,
    // a bucket of one point has one value, which is sent once
    minimum: series.minimum ?? series.last,
    maximum: series.maximum ?? series.last,
    mean: series.mean ?? series.last,
    last: series.last,
    smoothed: series.smoothed ?? series.mean ?? series.last,
    count: series.count,
    non_finite_in_bucket: series.non_finite_in_bucket,
    non_finite: series.non_finite,
    non_finite_count: series.non_finite_count,
    points: series.points,
    hidden_points: series.hidden_points,
    time: series.time,
    ranks: series.ranks,
  };
  if (!series.partial || before === null) return sent;
  const keep = firstNotBefore(before.first, series.from_step);
  const put = <T>(old: T[], more: T[]): T[] => (keep === old.length && more.length === 0 ? old : old.slice(0, keep).concat(more));
  return {
    ...sent,
    first: put(before.first, sent.first),
    step: put(before.step, sent.step),
    minimum: put(before.minimum, sent.minimum),
    maximum: put(before.maximum, sent.maximum),
    mean: put(before.mean, sent.mean),
    last: put(before.last, sent.last),
    smoothed: put(before.smoothed, sent.smoothed),
    count: put(before.count, sent.count),
    non_finite_in_bucket: put(before.non_finite_in_bucket, sent.non_finite_in_bucket),
    non_finite: before.non_finite.filter(({ step }) => step < series.from_step).concat(sent.non_finite).slice(0, MOST_LISTED),
    time: before.time && sent.time ? put(before.time, sent.time) : sent.time,
    ranks: joinedRanks(before.ranks, sent.ranks, put),
  };
}

function joinedRanks(before: Ranks | null, sent: Ranks | null, put: <T>(old: T[], more: T[]) => T[]): Ranks | null {
  if (!before || !sent) return sent ?? before;
  return {
    ...sent,
    minimum: put(before.minimum, sent.minimum),
    maximum: put(before.maximum, sent.maximum),
    mean: put(before.mean, sent.mean),
    highest: put(before.highest, sent.highest),
    non_finite: put(before.non_finite, sent.non_finite),
  };
}

/** The place of the first entry of ascending `steps` that is not below `step`; their number if there is none. */
export function firstNotBefore(steps: readonly number[], step: number): number {
  let low = 0;
  let high = steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((steps[middle] ?? 0) < step) low = middle + 1;
    else high = middle;
  }
  return low;
}
