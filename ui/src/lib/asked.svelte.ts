/** One series that a chart wants: what is held of it, kept fresh until the chart lets it go. */
import type { Held } from './held';
import { rounds, type Holder, type Wanted } from './rounds';

export class Asked implements Holder {
  value = $state.raw<Held | null>(null);
  refusal = $state<string | null>(null);
  /** When it came, in milliseconds. */
  heardAt = $state(0);
  #key = '';
  #run = '';
  #leave: (() => void) | null = null;

  /** Want this from now on; what is held of the same series stays until its successor is there. */
  want(wanted: Wanted): void {
    const key = JSON.stringify(wanted);
    if (key === this.#key) return;
    const series = `${wanted.run} ${wanted.attempt} ${wanted.name}`;
    if (series !== this.#run) {
      this.value = null;
      this.refusal = null;
    }
    this.#run = series;
    this.#key = key;
    const before = this.#leave;
    this.#leave = rounds.join(wanted, this);
    before?.();
  }

  leave(): void {
    this.#leave?.();
    this.#leave = null;
    this.#key = '';
  }

  take(value: Held): void {
    this.value = value;
    this.heardAt = Date.now();
    this.refusal = null;
  }

  refuse(message: string): void {
    this.value = null;
    this.refusal = message;
  }
}
