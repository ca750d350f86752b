/** The theme's colours as a canvas needs them: resolved, for the theme that is on now. */

const NAMES = [
  'ink', 'quiet', 'grid', 'card', 'trace', 'raw', 'band', 'accent', 'mark', 'warn', 'rewind',
  'edge', 'sunk', 'heat-0', 'heat-1', 'heat-2', 'heat-3', 'heat-4',
  'line-1', 'line-2', 'line-3', 'line-4', 'line-5', 'line-6', 'line-7', 'line-8',
] as const;
export type InkName = (typeof NAMES)[number];
export type Inks = Record<InkName, string>;

/** Lines that can be told apart by colour; more of them repeat the colours with other dashes. */
export const LINE_INKS: readonly InkName[] = ['line-1', 'line-2', 'line-3', 'line-4', 'line-5', 'line-6'];

/** The looks of up to eight runs: a colour each, and a dash for whoever cannot tell the colours apart. */
export const RUN_INKS: readonly InkName[] = [...LINE_INKS, 'line-7', 'line-8'];
export const RUN_DASHES: readonly (readonly number[])[] = [[], [8, 4], [2, 3], [8, 3, 2, 3], [4, 4], [12, 3], [12, 3, 2, 3, 2, 3], [5, 2, 2, 2]];

/** The same colour, so much of it. */
export function faded(colour: string, share: number): string {
  const [red = '0', green = '0', blue = '0'] = colour.match(/[\d.]+/g) ?? [];
  return `rgb(${red} ${green} ${blue} / ${share})`;
}

export function inks(inside: HTMLElement): Inks {
  const probe = document.createElement('span');
  probe.hidden = true;
  inside.append(probe);
  const found = {} as Inks;
  for (const name of NAMES) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}
