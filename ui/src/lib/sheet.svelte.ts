/** What the charts of a page share: the x-axis that they span together. */
import { extent, type Span } from './abscissa';
import type { Asked } from './asked.svelte';
import { feed } from './feed.svelte';
import { view } from './view.svelte';

class Sheet {
  #asked = $state.raw<readonly Asked[]>([]);
  #seen: { of: string; span: Span } | null = null; // the whole as it was drawn last

  constructor() {
    view.whole = () => this.whole();
  }

  /** From the least to the greatest x of what is drawn, or the zoomed window. */
  span: Span = $derived.by(() => {
    if (view.window) return view.window;
    let whole: Span | null = null;
    for (const { value } of this.#asked) {
      const own = value && extent(value, view.axis);
      if (own) whole = whole ? { from: Math.min(whole.from, own.from), to: Math.max(whole.to, own.to) } : own;
    }
    if (whole) this.#seen = { of: this.#key(), span: whole };
    return whole ?? { from: 0, to: 1 };
  });

  /** What there is to see of the runs, whatever window is open; null while that is not known. */
  whole(): Span | null {
    const known = view.window ? null : this.span;
    const seen = this.#seen?.of === this.#key() ? this.#seen.span : null;
    if (known || view.axis !== 'step') return known ?? seen;
    const attempts = view.runs.flatMap((run) => (run === view.run ? feed.detail : feed.compared.get(run))?.attempts ?? []);
    const steps = attempts.flatMap(({ first_step, last_step }) => [first_step, last_step]).filter((step) => step !== null);
    const all = seen ? [...steps, seen.from, seen.to] : steps;
    return all.length ? { from: Math.min(...all), to: Math.max(...all) } : null;
  }

  #key(): string {
    return JSON.stringify([view.axis, view.runs]);
  }

  /** A chart's series count from now on; the result ends it. */
  join(asked: readonly Asked[]): () => void {
    this.#asked = [...this.#asked, ...asked];
    return () => (this.#asked = this.#asked.filter((each) => !asked.includes(each)));
  }
}

/** What a zoom keeps in its place: the pin, else the cursor, else the newest end while that is followed, else the middle. */
export function zoomCentre({ from, to }: Span, cursor: number | null): number {
  const found = [view.pin?.x ?? null, cursor].find((x) => x !== null && x >= from && x <= to);
  return found ?? (view.window ? (from + to) / 2 : to);
}

export const sheet = new Sheet();
