/** What the charts of a page share: the x-axis that they span together. */
import { extent, type Span } from './abscissa';
import type { Asked } from './asked.svelte';
import { view } from './view.svelte';

class Sheet {
  #asked = $state.raw<readonly Asked[]>([]);

  /** From the least to the greatest x of what is drawn, or the zoomed window. */
  span: Span = $derived.by(() => {
    if (view.window) return view.window;
    let whole: Span | null = null;
    for (const { value } of this.#asked) {
      const own = value && extent(value, view.axis);
      if (own) whole = whole ? { from: Math.min(whole.from, own.from), to: Math.max(whole.to, own.to) } : own;
    }
    return whole ?? { from: 0, to: 1 };
  });

  /** A chart's series count from now on; the result ends it. */
  join(asked: readonly Asked[]): () => void {
    this.#asked = [...this.#asked, ...asked];
    return () => (this.#asked = this.#asked.filter((each) => !asked.includes(each)));
  }
}

export const sheet = new Sheet();
