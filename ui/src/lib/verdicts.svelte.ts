/**
 * Every verdict on the open run. The server reads all points of a run for them, so they are asked for when the run is
 * opened, when it begins or ends, and now and then while it trains; never while nobody looks.
 */
import { ask, Away, Building, Refused } from './ask';
import { clock } from './clock.svelte';
import type { RunState, Verdicts } from './documents';

/** Two questions because of points are at least so many milliseconds apart. */
const SPACING = 10_000;
/** Two questions for whatever reason. */
const LEAST = 1000;
/** As far as the server's clock may be from what is known of it. */
const UNSURE = 1500;
const FIRST_RETRY = 2000;
const LONGEST_RETRY = 30_000;

class Judgements {
  document = $state.raw<Verdicts | null>(null);
  /** When the document was last sure to be right, in milliseconds. */
  heardAt = $state(0);
  /** Why the newest could not be had; null while it could. */
  problem = $state<string | null>(null);
  /** Whether something has changed since. */
  due = $state(false);

  #run: string | null = null;
  #state: RunState | null = null;
  #shown = false;
  #text = '';
  #running = false;
  #failed = false;
  #changedAt = -Infinity;
  #askedAt = -Infinity;
  #retry = FIRST_RETRY;
  #notBefore = -Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Be about this run from now on; the result ends it. */
  open(run: string): () => void {
    if (run !== this.#run) {
      this.#run = run;
      this.#state = null;
      this.document = null;
      this.problem = null;
      this.due = true;
      this.#text = '';
      this.#askedAt = -Infinity;
      this.#notBefore = -Infinity;
      this.#changedAt = performance.now();
    }
    this.#shown = true;
    if (this.due) this.#soon(SPACING);
    return () => {
      this.#shown = false; // on the page of the charts nobody wants them
      clearTimeout(this.#timer);
    };
  }

  /** Something that verdicts rest on has changed. */
  moved(): void {
    this.#retry = FIRST_RETRY;
    this.#notBefore = -Infinity;
    this.#change(SPACING);
  }

  /** The run does this now; when that changes, it is judged at once. */
  stands(run: string, state: RunState): void {
    if (run !== this.#run || state === this.#state) return;
    const first = this.#state === null; // that is what it was opened with
    this.#state = state;
    if (!first) this.#change(LEAST);
  }

  /** The server answers: what failed is tried again. Without a stream nobody tells of points, and a run that trains has some. */
  sure(streaming: boolean): void {
    if (this.due) this.#soon(this.#failed ? LEAST : SPACING);
    else if (!streaming && this.#state === 'training' && performance.now() - this.#askedAt >= SPACING) this.#change(SPACING);
  }

  #change(spacing: number): void {
    this.due = true;
    this.#changedAt = performance.now() + UNSURE;
    this.#soon(spacing);
  }

  #soon(spacing: number): void {
    if (this.#running || !this.#shown) return;
    clearTimeout(this.#timer);
    const wait = Math.max(this.#askedAt + spacing, this.#notBefore) - performance.now();
    if (wait <= 0) void this.#look();
    else this.#timer = setTimeout(() => void this.#look(), wait);
  }

  async #look(): Promise<void> {
    const run = this.#run;
    if (document.hidden || !this.#shown || run === null) return; // it stays due until the tab is seen again
    this.#running = true;
    this.due = false;
    this.#askedAt = performance.now();
    try {
      const found = await ask<Verdicts>(`api/verdicts?run=${encodeURIComponent(run)}`);
      if (run === this.#run) this.#take(found);
    } catch (error) {
      if (run === this.#run) this.#fail(error);
    }
    this.#running = false;
    if (run !== this.#run || this.due) this.#soon(SPACING);
  }

  #take(found: Verdicts): void {
    this.heardAt = Date.now();
    this.problem = null;
    this.#failed = false;
    this.#retry = FIRST_RETRY;
    this.#notBefore = -Infinity;
    const text = JSON.stringify({ ...found, timestamp: '' });
    if (text !== this.#text) {
      this.#text = text;
      this.document = found; // the same again must not draw everything anew
    }
    // the server keeps a document for some seconds: one that is older than the change does not know of it
    const age = clock.since(found.timestamp) * 1000 + Date.now() - clock.now;
    if (performance.now() - Math.max(0, age) < this.#changedAt) this.due = true;
  }

  #fail(error: unknown): void {
    this.problem = error instanceof Building ? null : sayProblem(error);
    if (error instanceof Refused) return;
    this.due = true;
    this.#failed = true;
    this.#notBefore = performance.now() + this.#retry;
    this.#retry = Math.min(this.#retry * 2, LONGEST_RETRY);
  }
}

function sayProblem(error: unknown): string {
  if (error instanceof Refused) return error.message;
  return `The server cannot be asked: ${error instanceof Away ? error.message : 'its answer could not be read'}.`;
}

export const judgements = new Judgements();
