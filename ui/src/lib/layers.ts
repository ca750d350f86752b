/** The layers as the page shows them: their modules under their blocks, on a scale of powers of ten. */
import type { LayerHeatmap, LayerRow, Num } from './documents';
import { count, numeric, short } from './format.ts';

export type Quantity = LayerHeatmap['quantity'];
export type LayerStatus = LayerRow['status'];

/** The gravest first. */
const GRAVITY: readonly LayerStatus[] = ['non_finite', 'exploding', 'dead', 'vanishing', 'unknown', 'starting', 'active'];

export const STATUS_WORDS: Record<LayerStatus, string> = {
  active: 'active',
  dead: 'dead',
  vanishing: 'vanishing',
  exploding: 'exploding',
  non_finite: 'not finite',
  starting: 'starting',
  unknown: 'not measured',
};

export const QUANTITIES: Record<Quantity, string> = { gradient_norm: 'gradient norm', update_ratio: 'update ratio' };

/** More modules than this stand under their blocks. */
const MOST_FLAT = 40;
const BLOCK = /(?:^|\.)(\d+)(?:\.|$)/;

/** One line of the picture: a block with its modules, or a single module. */
export interface Line {
  key: string;
  label: string;
  /** The modules that it is made of; one of them is a module's own line. */
  modules: string[];
  /** The block that its modules stand under; null for a module that stands by itself. */
  block: string | null;
  kind: 'block' | 'module';
  open: boolean;
}

/** A cell: a number, one that is none, or nothing measured. */
export type Cell = number | null;

/** The block that a module is in, by its name; null for one that is in none. */
export function blockOf(module: string): string | null {
  return BLOCK.exec(module)?.[1] ?? null;
}

/** A name without what all of them begin with: what a module is called wherever it is named. */
export function brief(module: string, prefix: string): string {
  return module.slice(prefix.length) || module;
}

/** That name in four parts: what leads to the block, the block, what stands between, and the last part; together they are the name. */
export function labelParts(module: string, prefix: string): [string, string, string, string] {
  const name = brief(module, prefix);
  const found = BLOCK.exec(name);
  const start = found ? found.index + (found[0].startsWith('.') ? 1 : 0) : 0;
  const end = found ? found.index + found[0].length : 0;
  const last = Math.max(end, name.lastIndexOf('.') + 1);
  return [name.slice(0, start), name.slice(start, end), name.slice(end, last), name.slice(last)];
}

/** Whether so many modules stand under their blocks. */
export function isGrouped(modules: readonly string[]): boolean {
  return modules.length > MOST_FLAT && new Set(modules.map(blockOf)).size < modules.length;
}

/** The lines of the picture: every module, or the blocks of which some are open. */
export function linesOf(modules: readonly string[], opened: ReadonlySet<string>): Line[] {
  const line = (module: string, block: string | null): Line => ({ key: module, label: module, modules: [module], block, kind: 'module', open: false });
  if (!isGrouped(modules)) return modules.map((module) => line(module, null));
  const blocks = new Map<string, string[]>();
  const found: Line[] = [];
  for (const module of modules) {
    const block = blockOf(module);
    if (block === null) continue;
    blocks.set(block, [...(blocks.get(block) ?? []), module]);
  }
  const seen = new Set<string>();
  for (const module of modules) {
    const block = blockOf(module);
    if (block === null) found.push(line(module, null));
    else if (!seen.has(block)) {
      seen.add(block);
      const own = blocks.get(block) ?? [];
      const open = opened.has(block);
      found.push({ key: `block ${block}`, label: `block ${block}`, modules: own, block, kind: 'block', open });
      if (open) found.push(...own.map((each) => line(each, block)));
    }
  }
  return found;
}

/** One number of several modules: norms are joined by the root of the sum of squares, of ratios the greatest counts. NaN stays NaN; null where none was measured. */
export function joinedCell(cells: readonly (Num | null)[], quantity: Quantity): Cell {
  const numbers = cells.filter((cell) => cell !== null).map(numeric);
  if (!numbers.length) return null;
  if (numbers.some(Number.isNaN)) return Number.NaN;
  return quantity === 'gradient_norm' ? Math.hypot(...numbers) : Math.max(...numbers);
}

/** The line's own cells of a heatmap. */
export function cellsOf(line: Line, heatmap: LayerHeatmap, places: ReadonlyMap<string, number>): Cell[] {
  const rows = line.modules.map((module) => heatmap.cells[places.get(module) ?? -1] ?? []);
  return heatmap.last.map((_, column) => joinedCell(rows.map((row) => row[column] ?? null), heatmap.quantity));
}

/** A scale of powers of ten. */
export interface Decades {
  low: number;
  high: number;
}

/** From the least to the greatest number that is not zero, and no further than `most` times the median from it: one layer that explodes must not make all others alike. */
export function decades(values: readonly (number | null)[], most: number): Decades | null {
  const sorted = values.filter((value): value is number => value !== null && Number.isFinite(value) && value > 0).sort((a, b) => a - b);
  const median = sorted[sorted.length >> 1];
  if (median === undefined) return null;
  return { low: Math.max(sorted[0] ?? median, median / most), high: Math.min(sorted.at(-1) ?? median, median * most) };
}

/** Where a positive number stands on the scale, 0 to 1; in the middle where all are alike. */
export function shareOf(value: number, { low, high }: Decades): number {
  if (low === high) return 0.5;
  if (value >= high) return 1;
  if (value <= low) return 0;
  return Math.log(value / low) / Math.log(high / low);
}

/** The status of a line: the gravest of its modules'. */
export function statusOf(rows: readonly LayerRow[]): LayerStatus {
  return GRAVITY.find((status) => rows.some((row) => row.status === status)) ?? 'unknown';
}

/** What is wrong with a block in short: `2 dead`, `1 exploding`; empty if all is well. */
export function sayTroubles(rows: readonly LayerRow[]): string {
  return GRAVITY.slice(0, 4)
    .map((status) => [status, rows.filter((row) => row.status === status).length] as const)
    .filter(([, amount]) => amount > 0)
    .map(([status, amount]) => (rows.length > 1 ? `${count(amount)} ${STATUS_WORDS[status]}` : STATUS_WORDS[status]))
    .join(', ');
}

/** One cell in words. */
export function sayCell(cell: Cell): string {
  if (cell === null) return 'not measured';
  return cell === 0 ? '0' : short(cell);
}

/** What is known of a module now, in words. */
export function sayNow(row: LayerRow): string {
  const parts = [`now ${row.current_grad_norm === null ? 'without a gradient' : short(row.current_grad_norm)}`];
  if (row.a_grad_norm !== null || row.b_grad_norm !== null) parts.push(`A ${sayNum(row.a_grad_norm)}, B ${sayNum(row.b_grad_norm)}`);
  if (row.mean_grad_norm !== null && row.max_grad_norm !== null) parts.push(`mean ${short(row.mean_grad_norm)}, greatest ${short(row.max_grad_norm)}`);
  if (row.update_ratio !== null) parts.push(`update ratio ${short(row.update_ratio)}`);
  return parts.join('; ');
}

function sayNum(value: Num | null): string {
  return value === null ? 'not measured' : short(value);
}

/** What all names begin with, up to a point: nobody needs to read it in every line. */
export function sharedPrefix(names: readonly string[]): string {
  const [first = ''] = names;
  let shared = first;
  for (const name of names) while (!name.startsWith(shared)) shared = shared.slice(0, -1);
  const end = shared.lastIndexOf('.');
  return names.length > 1 && end > 0 ? shared.slice(0, end + 1) : '';
}
