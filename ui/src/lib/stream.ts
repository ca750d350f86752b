/**
 * The server's event stream: one per browser, none while every tab is hidden. HTTP/1.1 has six connections for one
 * server in all tabs together, so one visible tab holds the stream and tells the others. A lock says which; where the
 * browser has none (plain HTTP from another machine), each visible tab has a stream of its own.
 */
import type { Changes } from './documents';

interface Ears {
  /** The stream is there: whatever came before it may have been missed. */
  opened(): void;
  changed(changes: Changes): void;
  /** No stream for now; it is tried again by itself. */
  failed(): void;
}

/** What one tab tells the others. */
type Told = { say: 'opened' | 'failed' | 'here' | 'asks' } | { say: 'changed'; changes: Changes };

const FIRST_RETRY = 1000;
const LONGEST_RETRY = 30_000;
const PULSE = 2000;
/** After so much silence whoever holds the stream is taken to be gone, although the lock is not free. */
const SILENCE = 5000;

export class Stream {
  #ears: Ears;
  #source: EventSource | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #retry = FIRST_RETRY;
  #channel: BroadcastChannel | null = null;
  /** Ends the wait for the lock, or gives it back. */
  #turn: AbortController | null = null;
  #leads = false;
  /** Whether events come, from the server or from the tab that has them. */
  #hears = false;
  #pulse: ReturnType<typeof setInterval> | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;

  constructor(ears: Ears) {
    this.#ears = ears;
  }

  open(): void {
    if (this.#turn) {
      if (this.#leads) this.#connect(); // it waits for its next try: not any longer
      return;
    }
    const turn = new AbortController();
    this.#turn = turn;
    if (!('locks' in navigator) || !('BroadcastChannel' in globalThis)) {
      this.#lead();
      return;
    }
    const name = `barograph ${new URL('api/events', document.baseURI).pathname}`;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = (event: MessageEvent<Told>) => this.#told(event.data);
    this.#tell({ say: 'asks' });
    navigator.locks
      .request(name, { signal: turn.signal }, () => {
        if (turn.signal.aborted) return undefined;
        this.#lead();
        return new Promise<void>((done) => turn.signal.addEventListener('abort', () => done()));
      })
      .catch(() => {
        if (!turn.signal.aborted) this.#lead(); // a browser that keeps locks from this page
      });
  }

  close(): void {
    this.#turn?.abort();
    this.#turn = null;
    this.#leads = false;
    this.#hears = false;
    clearInterval(this.#pulse);
    clearTimeout(this.#silence);
    this.#disconnect();
    this.#channel?.close();
    this.#channel = null;
  }

  #lead(): void {
    this.#leads = true;
    this.#hears = false; // the stream of the tab before has ended
    clearTimeout(this.#silence);
    this.#pulse = setInterval(() => this.#hears && this.#tell({ say: 'here' }), PULSE);
    this.#connect();
  }

  #connect(): void {
    if (this.#source) return;
    clearTimeout(this.#timer);
    const source = new EventSource('api/events');
    this.#source = source;
    source.addEventListener('hello', () => {
      this.#retry = FIRST_RETRY;
      this.#opened();
    });
    source.addEventListener('reset', () => this.#opened());
    source.addEventListener('change', (event: MessageEvent<string>) => {
      const changes = JSON.parse(event.data) as Changes;
      this.#tell({ say: 'changed', changes });
      this.#ears.changed(changes);
    });
    source.addEventListener('error', () => {
      this.#hears = false;
      this.#tell({ say: 'failed' });
      this.#ears.failed();
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again, and says what it heard last
      this.#disconnect();
      this.#timer = setTimeout(() => this.#connect(), this.#retry);
      this.#retry = Math.min(this.#retry * 2, LONGEST_RETRY);
    });
  }

  #disconnect(): void {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #opened(): void {
    this.#hears = true;
    this.#tell({ say: 'opened' });
    this.#ears.opened();
  }

  #tell(told: Told): void {
    this.#channel?.postMessage(told);
  }

  #told(told: Told): void {
    if (told.say === 'asks') {
      if (this.#leads && this.#hears) this.#tell({ say: 'here' });
      return;
    }
    if (this.#leads) return; // a tab that came back from a long sleep and does not know yet
    clearTimeout(this.#silence);
    if (told.say === 'failed') {
      this.#silent();
      return;
    }
    this.#silence = setTimeout(() => this.#silent(), SILENCE);
    const known = this.#hears && told.say !== 'opened';
    this.#hears = true;
    if (!known) this.#ears.opened();
    else if (told.say === 'changed') this.#ears.changed(told.changes);
  }

  #silent(): void {
    this.#hears = false;
    this.#ears.failed();
  }
}
