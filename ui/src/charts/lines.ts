/** How the lines of held-out exact match are chosen and told apart. */
import { LINE_INKS, type InkName } from './ink.ts';

export const PREFIX = 'exact_match/';
export const MOST_LINES = 24;
export const PLAIN = 'plain_sft';
export const ALL = 'all';

export interface Line {
  name: string;
  /** What tells it from the others: `syllo easy`; a part that all lines share, such as the regime, is left out. */
  label: string;
  /** The lines that stand together in the key: those of one task under one regime. */
  group: string;
  /** What tells it from the others of its group. */
  within: string;
  ink: InkName;
  dash: number[];
}

/** Six patterns that stay apart at a width of two pixels: whole, long, dots, long-dot, short, long-dot-dot. */
export const DASHES: readonly (readonly number[])[] = [[], [10, 5], [2, 4], [10, 4, 2, 4], [5, 4], [12, 4, 2, 4, 2, 4]];

/** The words that levels have, easiest first; levels of other names go by number, or by letter. */
const WORDS = ['easy', 'medium', 'hard', 'edge'];

/** The answer formats that a run was asked for, the plain one first. */
export function regimes(series: string[]): string[] {
  const found = new Set(series.filter((name) => name.startsWith(PREFIX)).map((name) => name.split('/')[3] ?? ''));
  found.delete('');
  return [...found].sort((a, b) => Number(b === PLAIN) - Number(a === PLAIN) || a.localeCompare(b));
}

/** The regime that is shown: the one that is wanted if the run has it, else the plain one, else the first. */
export function regimeShown(present: string[], wanted: string | null): string {
  if (wanted !== null && (wanted === ALL || present.includes(wanted))) return wanted;
  return present[0] ?? ALL;
}

/**
 * The lines of one regime, or of all, by task and from the easiest level on.
 *
 * Colour says the level, and the dash says the task (and the regime, where more than one is shown), so that lines of
 * one task never differ in their dashes alone. Where there are more levels or tasks than that has room for, colours
 * and dashes are dealt out in turn.
 */
export function exactMatchLines(series: string[], regime: string): Line[] {
  const all = series.filter((name) => name.startsWith(PREFIX)).map((name) => ({ name, parts: name.slice(PREFIX.length).split('/') }));
  const order = regimes(series);
  const chosen = all
    .filter(({ parts }) => regime === ALL || parts[2] === undefined || parts[2] === regime)
    .sort((a, b) => order.indexOf(a.parts[2] ?? '') - order.indexOf(b.parts[2] ?? '') || byText(a.parts[0], b.parts[0]) || byLevel(a.parts[1], b.parts[1]))
    .slice(0, MOST_LINES);
  const several = new Set(chosen.map(({ parts }) => parts[2])).size > 1;
  const shared = (at: number) => at > 0 && chosen.every(({ parts }) => parts[at] === chosen[0]?.parts[at]);
  const groupOf = (parts: string[]) => (several ? [parts[0], parts[2]] : [parts[0]]).filter(Boolean).join(' · ');
  const groups = [...new Set(chosen.map(({ parts }) => groupOf(parts)))];
  const ranks = ranked(all.map(({ parts }) => parts));
  const tidy = Math.max(...ranks.values()) < LINE_INKS.length && groups.length <= DASHES.length;
  return chosen.map(({ name, parts }, place) => {
    const group = groupOf(parts);
    const ink = tidy ? (ranks.get(`${parts[0]}/${parts[1] ?? ''}`) ?? 0) : place % LINE_INKS.length;
    const dash = tidy ? groups.indexOf(group) : Math.floor(place / LINE_INKS.length);
    return {
      name,
      label: parts.filter((_, at) => chosen.length === 1 || !shared(at)).join(' '),
      group,
      within: parts[1] ?? parts[0] ?? name,
      ink: LINE_INKS[ink] ?? 'line-1',
      dash: [...(DASHES[dash] ?? [])],
    };
  });
}

/** `task/level` to how many levels of that task are easier. */
function ranked(parts: string[][]): Map<string, number> {
  const byTask = new Map<string, Set<string>>();
  for (const [task = '', level = ''] of parts) byTask.set(task, (byTask.get(task) ?? new Set()).add(level));
  return new Map([...byTask].flatMap(([task, levels]) => [...levels].sort(byLevel).map((level, rank) => [`${task}/${level}`, rank] as const)));
}

function byText(a = '', b = ''): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

function byLevel(a = '', b = ''): number {
  const [one, other] = [WORDS.indexOf(a), WORDS.indexOf(b)];
  return one >= 0 && other >= 0 ? one - other : byText(a, b);
}
