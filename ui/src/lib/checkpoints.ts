/** The checkpoints of a run as the page shows them: which one is looked at, and how its numbers and layers are said. */
import type { Checkpoints, CheckpointWeights, DriftColour, TensorDrift, WeightAlert } from './documents';
import { count, MISSING, short, tick } from './format.ts';

/** The layer that holds embeddings and whatever else is in no block. */
export const REST = -1;

/** How a checkpoint stands: `alone` was read, and there was nothing to compare it with. */
export type Standing = 'compared' | 'alone' | Exclude<CheckpointWeights['state'], 'analysed'>;

export const STANDINGS: Record<Standing, string> = {
  compared: 'read',
  alone: 'read, compared with nothing',
  planned: 'waits to be read',
  running: 'being read',
  interrupted: 'reading was interrupted',
  failed: 'could not be read',
  not_analysed: 'not read',
};

export function standing(row: CheckpointWeights): Standing {
  if (row.state !== 'analysed') return row.state;
  return row.relative_change.length ? 'compared' : 'alone';
}

/** What the address calls a checkpoint: its name, or its id where two have the same name. */
export function checkpointKey(row: CheckpointWeights, rows: readonly CheckpointWeights[]): string {
  return rows.some((other) => other.name === row.name && other.id !== row.id) ? row.id : row.name;
}

/** The checkpoint that is looked at: the one that was chosen while it is there, else the newest that was read, else the last. */
export function looked(list: Checkpoints, chosen: string | null): CheckpointWeights | null {
  const rows = list.checkpoints;
  const wanted = chosen === null ? undefined : (rows.find((row) => row.id === chosen) ?? rows.findLast((row) => row.name === chosen));
  return wanted ?? rows.find((row) => row.id === list.newest) ?? rows.at(-1) ?? null;
}

export function layerName(layer: number): string {
  return layer === REST ? 'embeddings and the rest' : `layer ${count(layer)}`;
}

/** The same as a title, or as the beginning of a sentence. */
export function layerTitle(layer: number): string {
  const name = layerName(layer);
  return name.charAt(0).toUpperCase() + name.slice(1);
}

/** A ratio in percent with three significant digits: `196 %`, `1.23 %`, `0.0192 %`. */
export function percents(ratio: number): string {
  const value = ratio * 100;
  const size = Math.abs(value);
  if (!Number.isFinite(value) || (size !== 0 && size < 0.001)) return `${short(Number.isFinite(value) ? value : ratio)} %`;
  if (size >= 999.5) return `${count(Math.round(value))} %`;
  const digits = size === 0 ? 0 : Math.min(5, Math.max(0, 2 - Math.floor(Math.log10(Number(size.toPrecision(3))))));
  return `${value < 0 ? '−' : ''}${size.toFixed(digits)} %`;
}

/** A round ratio in percent, such as a threshold or a place on an axis: `3 %`, `0.25 %`. */
export function roundPercents(ratio: number): string {
  return `${tick(ratio * 100)} %`;
}

/** One cell of the heatmap in words: `checkpoint-400, layer 3: 1.20 %`; without a number, why there is none. */
export function sayCell(list: Checkpoints, row: CheckpointWeights, place: number): string {
  const [layer] = list.layers.slice(place, place + 1);
  const where = layer === undefined ? row.name : `${row.name}, ${layerName(layer)}`;
  const value = row.relative_change[place];
  const how = standing(row);
  const past = row.superseded ? '; superseded by a newer attempt' : '';
  if (typeof value === 'number') {
    const colour = row.colours[place];
    return `${where}: ${percents(value)}${colour ? `, ${colour}` : ''}${past}`;
  }
  if (how === 'compared') return `${where}: no finite number${past}`;
  return `${row.name}: ${STANDINGS[how]}${row.reason ? ` (${row.reason})` : ''}${past}`;
}

/** The colour of a layer in the list's own words; null where it has no number. */
export function colourOf(list: Checkpoints, row: CheckpointWeights, layer: number): DriftColour | null {
  return row.colours[list.layers.indexOf(layer)] ?? null;
}

/** An alert's value or threshold in its own unit: a share, a count, a factor or a plain weight. */
export function alertFigure(alert: WeightAlert, value: number | null, reason?: string): string {
  if (value === null) return reason?.includes('infinite') ? '∞' : MISSING;
  switch (alert.type) {
    case 'zero_rows':
    case 'dtype_max':
      return percents(value);
    case 'non_finite':
      return count(value);
    case 'norm_growth':
    case 'spike':
      return `× ${short(value)}`;
    case 'exploding':
    case 'vanishing':
      return short(value);
  }
}

export const TENSOR_STATES: Record<TensorDrift['state'], string> = {
  compared: 'compared',
  alone: 'no reference',
  adapted: 'adapted',
  missing: 'missing here',
  extra: 'not in the reference',
  reshaped: 'another shape',
  integer: 'integers',
};

export type TensorColumn = 'tensor' | 'state' | 'dtype' | 'shape' | 'relative_change' | 'current_norm' | 'max_abs_weight' | 'non_finite' | 'zero_rows';

/** What a tensor is sorted by; a change that is no number because weights are not finite counts as the largest. */
function weight(tensor: TensorDrift, column: TensorColumn): number | string | null {
  switch (column) {
    case 'tensor':
    case 'dtype':
      return tensor[column];
    case 'state':
      return TENSOR_STATES[tensor.state];
    case 'shape':
      return tensor.shape === null ? null : tensor.elements;
    case 'relative_change':
    case 'current_norm':
      return tensor[column] ?? (tensor.non_finite ? Infinity : null);
    default:
      return tensor[column];
  }
}

const alphabet = new Intl.Collator('en', { numeric: true });

/** The tensors in order of a column; what has no value there stands last whichever way it goes. */
export function sortedTensors(tensors: readonly TensorDrift[], column: TensorColumn, falling: boolean): TensorDrift[] {
  const way = falling ? -1 : 1;
  return tensors.toSorted((a, b) => {
    const [one, other] = [weight(a, column), weight(b, column)];
    if (one === null || other === null) return Number(one === null) - Number(other === null) || alphabet.compare(a.tensor, b.tensor);
    const order = typeof one === 'string' || typeof other === 'string' ? alphabet.compare(String(one), String(other)) : one === other ? 0 : one - other;
    return order * way || alphabet.compare(a.tensor, b.tensor);
  });
}

/** At most `most` values from 0 on that are easy to read; the last is not below `top`. */
export function rungs(top: number, most = 4): number[] {
  if (!(top > 0) || !Number.isFinite(top)) return [0, 1];
  const rough = top / (most - 1);
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 2.5, 5, 10].find((each) => each * unit >= rough * (1 - 1e-9)) ?? 10) * unit;
  return Array.from({ length: Math.ceil(top / step - 1e-9) + 1 }, (_, place) => place * step);
}

/** Which of `length` places get a label when one needs `needs` pixels and a place has `has`: the first, then every n-th. */
export function labelled(length: number, has: number, needs: number): number[] {
  const rough = Math.max(1, Math.ceil(needs / Math.max(has, 1e-9)));
  const unit = 10 ** Math.floor(Math.log10(rough));
  const every = ([1, 2, 4, 5, 10].find((each) => each * unit >= rough) ?? 10) * unit;
  return Array.from({ length: Math.ceil(length / every) }, (_, place) => place * every);
}

/** Where a value stands on the scale of the heatmap: 0 to 1, by its square root, so that small changes differ too. */
export function shade(value: number, most: number): number {
  return most > 0 ? Math.sqrt(Math.min(1, Math.max(0, value / most))) : 0;
}
