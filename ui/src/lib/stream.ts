/** The server's event stream: one per tab, none while the tab is hidden. */
import type { Changes } from './documents';

interface Ears {
  /** The stream is there: whatever came before it may have been missed. */
  opened(): void;
  changed(changes: Changes): void;
  /** No stream for now; it is tried again by itself. */
  failed(): void;
}

const FIRST_RETRY = 1000;
const LONGEST_RETRY = 30_000;

export class Stream {
  #ears: Ears;
  #source: EventSource | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #retry = FIRST_RETRY;

  constructor(ears: Ears) {
    this.#ears = ears;
  }

  open(): void {
    if (this.#source) return;
    clearTimeout(this.#timer);
    const source = new EventSource('api/events');
    this.#source = source;
    source.addEventListener('hello', () => {
      this.#retry = FIRST_RETRY;
      this.#ears.opened();
    });
    source.addEventListener('reset', () => this.#ears.opened());
    source.addEventListener('change', (event: MessageEvent<string>) => this.#ears.changed(JSON.parse(event.data) as Changes));
    source.addEventListener('error', () => {
      this.#ears.failed();
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again, and says what it heard last
      this.close();
      this.#timer = setTimeout(() => this.open(), this.#retry);
      this.#retry = Math.min(this.#retry * 2, LONGEST_RETRY);
    });
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }
}
