/** One series of the open run, asked again when what is wanted or the run itself has moved. */
import { ask, Away, Building, Refused } from './ask';
import type { Series } from './documents';
import { feed } from './feed.svelte';

export interface Wanted {
  run: string;
  name: string;
  smoothing: number;
  buckets: number;
  window: { from: number; to: number } | null;
}

export class AskedSeries {
  value = $state.raw<Series | null>(null);
  refusal = $state<string | null>(null);
  #address = '';
  #version = '';
  #wanted: { address: string; version: string } | null = null;
  #cancel: AbortController | null = null;

  /** Ask unless this very version is already here or under way. A changed wish cancels the old request. */
  want(wanted: Wanted, version: string): void {
    const address = seriesAddress(wanted);
    if (this.value && (this.value.run !== wanted.run || this.value.name !== wanted.name)) {
      this.value = null;
      this.#address = '';
    }
    if (address === this.#address && version === this.#version) return;
    const underWay = this.#wanted;
    this.#wanted = { address, version };
    if (underWay && underWay.address !== address) this.#cancel?.abort();
    if (!this.#cancel || this.#cancel.signal.aborted) void this.#ask();
  }

  async #ask(): Promise<void> {
    const cancel = new AbortController();
    this.#cancel = cancel;
    while (this.#wanted && !cancel.signal.aborted) {
      const { address, version } = this.#wanted;
      try {
        const value = await ask<Series>(address, cancel.signal);
        if (cancel.signal.aborted) return;
        this.value = value;
        this.refusal = null;
        this.#address = address;
        this.#version = version;
      } catch (error) {
        if (cancel.signal.aborted) return;
        if (error instanceof Building || feed.explains(error)) {
          this.#wanted = null; // the feed moves its version when the index is there
          break;
        }
        if (error instanceof Refused) {
          this.value = null;
          this.refusal = error.message;
          this.#address = address;
          this.#version = version;
        } else {
          // the feed waits for the server and moves its version when it is back
          this.#wanted = null;
          feed.lost(error instanceof Away ? error : new Away('its answer could not be read'));
          break;
        }
      }
      if (this.#wanted.address === address && this.#wanted.version === version) this.#wanted = null;
    }
    this.#cancel = null;
  }
}

function seriesAddress(wanted: Wanted): string {
  const query = new URLSearchParams({
    run: wanted.run,
    name: wanted.name,
    buckets: String(wanted.buckets),
    smoothing: String(wanted.smoothing),
  });
  if (wanted.window) {
    query.set('first', String(wanted.window.from));
    query.set('last', String(wanted.window.to));
  }
  return `api/series?${query}`;
}
