/** Names of series: grouped by the part before the first slash, searched, and counted by rank. */

export const MAIN = 'loss';
/** Characters of a name that the server lets itself be asked for. */
export const LONGEST_NAME = 512;
export const EXACT_MATCH = 'exact_match/';
/** One for all: ten thousand names are sorted in the time of a keystroke. */
const alphabet = new Intl.Collator('en', { numeric: true });
const LAYER = /^(?:rank\/\d+\/)?layers\//;
const RANK = /^rank\/\d+\/(.+)$/s;

export interface Group {
  /** What stands before the slash; empty for names without one. */
  prefix: string;
  names: string[];
}

/** Plain names first, then by prefix; the parts of ranks last, as their metric's own chart draws them together. */
export function grouped(names: readonly string[]): Group[] {
  const found = new Map<string, string[]>();
  for (const name of names) {
    const slash = name.indexOf('/');
    const prefix = slash > 0 ? name.slice(0, slash) : '';
    const own = found.get(prefix);
    if (own) own.push(name);
    else found.set(prefix, [name]);
  }
  const order = (prefix: string) => (prefix === '' ? 0 : prefix === 'rank' ? 2 : 1);
  return [...found]
    .map(([prefix, own]) => ({ prefix, names: own.sort((a, b) => byMain(a, b) || alphabet.compare(a, b)) }))
    .sort((a, b) => order(a.prefix) - order(b.prefix) || alphabet.compare(a.prefix, b.prefix));
}

/** The names that have every word of the search in them. */
export function matching(names: readonly string[], search: string): string[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [...names];
  return names.filter((name) => {
    const text = name.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

/** The metrics that ranks have logged apart: `rank/3/loss` is a part of `loss`. */
export function ranked(names: readonly string[]): Set<string> {
  return new Set(names.map((name) => RANK.exec(name)?.[1]).filter((name) => name !== undefined));
}

/** Whether a series is of a single layer: a model has a thousand of them, and they have a picture of their own. */
export function ofLayer(name: string): boolean {
  return LAYER.test(name);
}

/** What a page opens with: the loss, else whatever is no evaluation, else anything. */
export function mainOf(names: readonly string[]): string {
  if (names.includes(MAIN)) return MAIN;
  return names.find((name) => !name.startsWith(EXACT_MATCH) && !RANK.test(name) && !ofLayer(name)) ?? names[0] ?? MAIN;
}

function byMain(a: string, b: string): number {
  return Number(b === MAIN) - Number(a === MAIN);
}

/** Whether a series is measured now and then, at checkpoints: its few points are shown as they are, never smoothed. */
export function seldom(name: string): boolean {
  return name.startsWith(EXACT_MATCH) || name.startsWith('eval/');
}

/** Whether a name is too long to be asked for, or to stand in an address. */
export function unaskable(name: string): boolean {
  return name.length > LONGEST_NAME && [...name].length > LONGEST_NAME;
}
