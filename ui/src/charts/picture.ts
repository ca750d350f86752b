/** The lines of one chart as the columns that uPlot draws. */
import uPlot from 'uplot';
import type { Curve } from '../lib/curve';
import type { Column } from '../lib/held';
import type { InkName } from './ink';

/** One line of a chart: a series of a run, or of one attempt of it alone. */
export interface Line {
  key: string;
  run: string;
  label: string;
  attempt: number | null;
  ink: InkName;
  dash: number[];
}

/** What is drawn of each line, in this order: the band's two edges, the raw mean, the smoothed line. */
export type Part = 'high' | 'low' | 'mean' | 'smoothed';
export const WHOLE: readonly Part[] = ['high', 'low', 'mean', 'smoothed'];

/** Columns of all lines on one x; a gap in a line stays a gap, a bucket that only another line has is none. */
export function aligned(curves: (Curve | null)[], parts: readonly Part[], more: Column[] = []): uPlot.AlignedData {
  const tables = curves.map((curve): uPlot.AlignedData => [curve?.x ?? [], ...parts.map((part) => curve?.[part] ?? [])]);
  const [only] = tables;
  if (tables.length === 1 && only) return [...only, ...more] as uPlot.AlignedData;
  return tables.length ? uPlot.join(tables) : [[]];
}

/** At most about `most` of the x between the ends, the last one among them: the rows of a table over several lines. */
export function places(span: { from: number; to: number }, xs: readonly number[], most: number): number[] {
  const inside = xs.filter((x) => x >= span.from && x <= span.to);
  const each = Math.max(1, Math.ceil(inside.length / most));
  return inside.filter((_, at) => at % each === each - 1 || at === inside.length - 1);
}
