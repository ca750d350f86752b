/** The theme's colours as a canvas needs them: resolved, for the theme that is on now. */

const NAMES = [
  'ink', 'quiet', 'grid', 'card', 'trace', 'raw', 'band', 'accent', 'mark', 'warn', 'rewind',
  'line-1', 'line-2', 'line-3', 'line-4', 'line-5', 'line-6',
] as const;
export type InkName = (typeof NAMES)[number];
export type Inks = Record<InkName, string>;

/** Lines that can be told apart by colour; more of them repeat the colours with other dashes. */
export const LINE_INKS: readonly InkName[] = ['line-1', 'line-2', 'line-3', 'line-4', 'line-5', 'line-6'];

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
