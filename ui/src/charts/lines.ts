/** How the lines of held-out exact match are told apart. */
import { LINE_INKS, type InkName } from './ink.ts';

export const PREFIX = 'exact_match/';
export const MOST_LINES = 24;

export interface Line {
  name: string;
  /** What tells it from the others: `syllo easy`; a part that all lines share, such as the regime, is left out. */
  label: string;
  ink: InkName;
  dash: number[];
}

const DASHES: readonly number[][] = [[], [7, 4], [2, 3], [9, 3, 2, 3]];

/** Colour says the task and the dash its level; with one task, or more than there are colours, colour goes by line. */
export function exactMatchLines(series: string[]): Line[] {
  const names = series.filter((name) => name.startsWith(PREFIX)).slice(0, MOST_LINES);
  const parts = names.map((name) => name.slice(PREFIX.length).split('/'));
  const shared = (at: number) => at > 0 && parts.every((each) => each[at] === parts[0]?.[at]);
  const tasks = [...new Set(parts.map(([task]) => task))];
  const byTask = tasks.length > 1 && tasks.length <= LINE_INKS.length;
  const seen = new Map<string | undefined, number>();
  return names.map((name, place) => {
    const own = parts[place] ?? [];
    const within = seen.get(own[0]) ?? 0;
    seen.set(own[0], within + 1);
    const colour = byTask ? tasks.indexOf(own[0]) : place % LINE_INKS.length;
    const dash = byTask ? within : Math.floor(place / LINE_INKS.length);
    return {
      name,
      label: own.filter((_, at) => names.length === 1 || !shared(at)).join(' '),
      ink: LINE_INKS[colour] ?? 'line-1',
      dash: DASHES[dash % DASHES.length] ?? [],
    };
  });
}
