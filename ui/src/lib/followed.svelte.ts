/**
 * A document that is asked for when the server tells of a change that moves it, and apart from the status of the run,
 * which must never wait for it. Nobody asks while nobody looks.
 */
import { ask, Away, Building, Refused } from './ask';

export interface Following {
  /** Kinds of news after which the document may read otherwise. */
  of: readonly string[];
  /** Two questions are at least so many milliseconds apart. */
  spacing: number;
  /** Without a word of the server it is asked for so often; some of it changes with time alone. */
  sure: number;
}

/** News after which every document may read otherwise. */
const ALWAYS = ['banner', 'run_complete', 'files', 'any'];
const FIRST_RETRY = 2000;
const LONGEST_RETRY = 30_000;

export class Followed<T extends { timestamp: string; run: string | null }> {
  document = $state.raw<T | null>(null);
  /** When it was last sure to be right, in milliseconds. */
  heardAt = $state(0);
  /** Why the newest could not be had; null while it could. */
  problem = $state<string | null>(null);
  /** Whether something has changed since. */
  due = $state(false);

  readonly #path: string;
  readonly #how: Following;
  readonly #kinds: ReadonlySet<string>;
  #run: string | null = null;
  #query = '';
  #shown = 0;
  #text = '';
  #running = false;
  #askedAt = -Infinity;
  #retry = FIRST_RETRY;
  #notBefore = -Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `path` is that of the document without its query. */
  constructor(path: string, how: Following) {
    this.#path = path;
    this.#how = how;
    this.#kinds = new Set([...how.of, ...ALWAYS]);
  }

  /** Be about this run from now on, asked for with `query` besides; the result ends it. */
  open(run: string, query = ''): () => void {
    if (run !== this.#run) {
      this.document = null;
      this.problem = null;
      this.#text = '';
    }
    if (run !== this.#run || query !== this.#query) {
      this.#run = run;
      this.#query = query;
      this.due = true;
      this.#askedAt = -Infinity;
      this.#notBefore = -Infinity;
    }
    this.#shown += 1;
    if (this.due) this.#soon();
    return () => {
      this.#shown -= 1;
      if (!this.#shown) clearTimeout(this.#timer);
    };
  }

  /** The server tells that lines of these kinds came. */
  told(kinds: readonly string[]): void {
    if (kinds.some((kind) => this.#kinds.has(kind))) this.moved();
  }

  /** It may read otherwise now. */
  moved(): void {
    this.due = true;
    this.#retry = FIRST_RETRY;
    this.#notBefore = -Infinity;
    this.#soon();
  }

  /** The server answers: what failed is tried again, and now and then all is made sure of. */
  sure(): void {
    if (!this.due && performance.now() - this.#askedAt < this.#how.sure) return;
    this.due = true;
    this.#soon();
  }

  /** Ask at once, whenever the last question was: the user has just changed something. */
  now(): void {
    this.#askedAt = -Infinity;
    this.moved();
  }

  #soon(): void {
    if (this.#running || !this.#shown) return;
    clearTimeout(this.#timer);
    const wait = Math.max(this.#askedAt + this.#how.spacing, this.#notBefore) - performance.now();
    if (wait <= 0) void this.#look();
    else this.#timer = setTimeout(() => void this.#look(), wait);
  }

  async #look(): Promise<void> {
    const [run, query] = [this.#run, this.#query];
    if (document.hidden || !this.#shown || run === null) return; // it stays due until the tab is seen again
    this.#running = true;
    this.due = false;
    this.#askedAt = performance.now();
    const current = () => run === this.#run && query === this.#query;
    try {
      const found = await ask<T>(`${this.#path}?run=${encodeURIComponent(run)}${query}`);
      if (current()) this.#take(found);
    } catch (error) {
      if (current()) this.#fail(error);
    }
    this.#running = false;
    if (!current() || this.due) this.#soon();
  }

  #take(found: T): void {
    this.heardAt = Date.now();
    this.problem = null;
    this.#retry = FIRST_RETRY;
    const text = JSON.stringify({ ...found, timestamp: '' });
    if (text === this.#text) return; // the same again must not draw everything anew
    this.#text = text;
    this.document = found;
  }

  #fail(error: unknown): void {
    if (error instanceof Refused) {
      this.problem = error.message;
      return;
    }
    this.problem = error instanceof Building ? null : `The server cannot be asked: ${error instanceof Away ? error.message : 'its answer could not be read'}.`;
    this.due = true;
    this.#notBefore = performance.now() + this.#retry;
    this.#retry = Math.min(this.#retry * 2, LONGEST_RETRY);
  }
}
