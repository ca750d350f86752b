/**
 * What is known of the weights of the open run: the list of its checkpoints, and of the one that is looked at its two
 * documents and the tensors of one layer. They are asked for when the server tells of a change, and apart from the
 * status of the run, which must never wait for them: the first list of a long run takes the server a while.
 */
import { ask, Away, Building, Refused } from './ask';
import type { CheckpointDetail, Checkpoints, CheckpointTensors } from './documents';

/** Two lists are at least so many milliseconds apart. */
const SPACING = 1000;
/** Without a word of the server the list is asked for so often: whether a watcher is heard changes with time alone. */
const SURE_PERIOD = 9000;
const FIRST_RETRY = 2000;
const LONGEST_RETRY = 30_000;
/** While the slider moves, only where it rests is asked for. */
const REST_MS = 60;

class Weights {
  list = $state.raw<Checkpoints | null>(null);
  /** When the list was last sure to be right, in milliseconds. */
  heardAt = $state(0);
  /** The documents of the checkpoint that is looked at; those of the one before stay until they are there. */
  detail = $state.raw<CheckpointDetail | null>(null);
  tensors = $state.raw<CheckpointTensors | null>(null);
  /** Why the newest of each could not be had; null while it could. */
  listProblem = $state<string | null>(null);
  detailProblem = $state<string | null>(null);
  tensorsProblem = $state<string | null>(null);
  /** Moves when what was asked for about single checkpoints may read otherwise now. */
  version = $state(0);

  #run: string | null = null;
  #shown = false;
  #text = '';
  #due = false;
  #running = false;
  #failed = false;
  #askedAt = -Infinity;
  #retry = FIRST_RETRY;
  #notBefore = -Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #details = new Map<string, CheckpointDetail>();

  /** Be about this run from now on; the result ends it. */
  open(run: string): () => void {
    if (run !== this.#run) {
      this.#run = run;
      this.list = null;
      this.detail = null;
      this.tensors = null;
      this.listProblem = null;
      this.#text = '';
      this.#details.clear();
      this.#askedAt = -Infinity;
    }
    this.#shown = true;
    this.moved();
    return () => {
      this.#shown = false; // on the page of the charts nobody wants them
      clearTimeout(this.#timer);
    };
  }

  /** Something about the checkpoints may have changed. */
  moved(): void {
    this.#due = true;
    this.#retry = FIRST_RETRY;
    this.#soon(this.#askedAt + SPACING - performance.now());
  }

  /** The server answers, and nobody told of a change: what failed is tried again, and now and then all is made sure of. */
  sure(): void {
    const now = performance.now();
    if (this.#due ? now < this.#notBefore : now - this.#askedAt < SURE_PERIOD) return;
    this.#due = true;
    this.#soon(0);
  }

  /** Want the documents of a checkpoint; the result ends it. */
  wantDetail(run: string, checkpoint: string): () => void {
    const known = this.#details.get(checkpoint);
    if (known) {
      this.detail = known;
      this.detailProblem = null;
      return () => undefined;
    }
    return this.#rested<CheckpointDetail>(
      `api/checkpoints/${checkpoint}?run=${encodeURIComponent(run)}`,
      this.detail === null ? 0 : REST_MS,
      (detail) => {
        this.#details.set(checkpoint, detail);
        this.detail = detail;
        this.detailProblem = null;
      },
      (problem) => (this.detailProblem = problem),
    );
  }

  /** Want the tensors of a layer of a checkpoint; the result ends it. */
  wantTensors(run: string, checkpoint: string, layer: number): () => void {
    return this.#rested<CheckpointTensors>(
      `api/checkpoints/${checkpoint}/tensors?run=${encodeURIComponent(run)}&layer=${layer}`,
      this.tensors === null ? 0 : REST_MS,
      (tensors) => {
        this.tensors = tensors;
        this.tensorsProblem = null;
      },
      (problem) => {
        this.tensors = null;
        this.tensorsProblem = problem;
      },
    );
  }

  /** One document, asked for after a rest unless it is given up meanwhile; a failure is mended with the next list. */
  #rested<T>(path: string, rest: number, take: (value: T) => void, refuse: (problem: string) => void): () => void {
    const cancel = new AbortController();
    const timer = setTimeout(() => {
      ask<T>(path, cancel.signal).then(take, (error: unknown) => {
        if (cancel.signal.aborted) return;
        this.#failed = true;
        refuse(sayProblem(error));
        if (!(error instanceof Refused)) this.#later();
      });
    }, rest);
    return () => {
      clearTimeout(timer);
      cancel.abort();
    };
  }

  #soon(wait: number): void {
    if (this.#running || !this.#shown) return;
    clearTimeout(this.#timer);
    if (wait <= 0) void this.#look();
    else this.#timer = setTimeout(() => void this.#look(), wait);
  }

  /** Try again once the server is known to answer, and not too soon: it may be at its limit. */
  #later(): void {
    this.#due = true;
    this.#notBefore = performance.now() + this.#retry;
    this.#retry = Math.min(this.#retry * 2, LONGEST_RETRY);
  }

  async #look(): Promise<void> {
    const run = this.#run;
    if (document.hidden || !this.#shown || run === null || !this.#due) return; // it stays due, and the feed says when the tab is seen again
    this.#running = true;
    this.#due = false;
    this.#askedAt = performance.now();
    try {
      const list = await ask<Checkpoints>(`api/checkpoints?run=${encodeURIComponent(run)}`);
      if (run === this.#run) this.#take(list);
    } catch (error) {
      this.#running = false;
      if (run !== this.#run) this.#soon(0);
      else {
        this.listProblem = error instanceof Building ? null : sayProblem(error);
        if (!(error instanceof Refused)) this.#later();
      }
      return;
    }
    this.#running = false;
    if (this.#due || run !== this.#run) this.#soon(this.#askedAt + SPACING - performance.now());
  }

  #take(list: Checkpoints): void {
    this.heardAt = Date.now();
    this.listProblem = null;
    this.#retry = FIRST_RETRY;
    const text = JSON.stringify({ ...list, timestamp: '' });
    if (text !== this.#text) {
      this.#text = text;
      this.list = list; // the same again must not draw everything anew
      this.#details.clear();
      this.version += 1;
    } else if (this.#failed) {
      this.version += 1;
    }
    this.#failed = false;
  }
}

function sayProblem(error: unknown): string {
  if (error instanceof Refused) return error.message;
  return `The server cannot be asked: ${error instanceof Away || error instanceof Building ? error.message : 'its answer could not be read'}.`;
}

export const weights = new Weights();
