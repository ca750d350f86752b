/** Keeps the documents of the open run fresh, with one loop: when the server is away, nothing else asks it. */
import { ask, Away, Building, Refused } from './ask';
import { clock } from './clock.svelte';
import type { LiveStatus, RunDetail, Runs, RunState } from './documents';
import { view } from './view.svelte';

/** Milliseconds between two looks, by what the run does. */
const PERIOD: Record<RunState, number> = { training: 1000, paused: 2000, idle: 2000, completed: 5000, crashed: 5000 };
const WAITING_PERIOD = 2000;
const DETAIL_PERIOD = 3000;
const RUNS_PERIOD = 5000;
const FIRST_RETRY = 1000;
const LONGEST_RETRY = 30_000;
const MISSED_PERIODS = 3;

class Feed {
  runs = $state.raw<Runs | null>(null);
  live = $state.raw<LiveStatus | null>(null);
  detail = $state.raw<RunDetail | null>(null);
  /** What the server says when it does not let us see this run, or knows none of that name. */
  refusal = $state.raw<Refused | null>(null);
  /** Why the server counts as away; null while it answers. */
  away = $state<string | null>(null);
  /** Whether the server still builds its index: what is missing may come. */
  building = $state(false);
  answeredAt = $state(0);
  retryAt = $state(0);
  /** Moves when something may have been added to the run: charts ask again. */
  version = $state('');

  #timer: ReturnType<typeof setTimeout> | undefined;
  #running = false;
  #again = false;
  #retry = FIRST_RETRY;
  #runsAt = 0;
  #detailAt = 0;
  #askedFor: string | null = null;
  #recoveries = 0;

  /** Whether what is on the screen is older than three periods although nothing has failed yet. */
  stale = $derived(this.answeredAt > 0 && clock.now - this.answeredAt > MISSED_PERIODS * this.#period() + 1000);

  /** Start looking; the result stops it. */
  start(): () => void {
    const seen = () => {
      if (!document.hidden) this.lookNow();
    };
    document.addEventListener('visibilitychange', seen);
    addEventListener('online', seen);
    this.lookNow();
    return () => {
      clearTimeout(this.#timer);
      document.removeEventListener('visibilitychange', seen);
      removeEventListener('online', seen);
    };
  }

  lookNow(): void {
    clearTimeout(this.#timer);
    if (this.#running) this.#again = true;
    else void this.#look();
  }

  /** A request elsewhere on the page found the server away. */
  lost(error: Away): void {
    if (this.away === null) {
      this.#failed(error);
      this.#schedule();
    }
  }

  /** Whether a refusal only says that the index is not complete yet: the run is not known so far. */
  explains(error: unknown): boolean {
    return this.building && error instanceof Refused && error.status === 404;
  }

  async #look(): Promise<void> {
    this.#running = true;
    this.#again = false;
    try {
      await this.#refresh();
      this.#answered();
    } catch (error) {
      if (error instanceof Building || this.explains(error)) this.#unready();
      else if (error instanceof Refused) this.#refused(error);
      else this.#failed(error);
    }
    this.#running = false;
    if (this.#again) void this.#look();
    else this.#schedule();
  }

  async #refresh(): Promise<void> {
    const now = Date.now();
    if (view.run === null || this.runs === null || this.building || this.away !== null || now - this.#runsAt >= RUNS_PERIOD) {
      this.runs = await ask<Runs>('api/runs');
      this.#runsAt = now;
      this.#heard(this.runs.timestamp);
      const building = this.runs.index === 'rebuilding';
      if (this.building && !building) this.#recoveries += 1;
      this.building = building;
      const newest = this.runs.runs[0];
      if (view.run === null && newest) view.openRun(newest.run, 'same');
    }
    const run = view.run;
    if (run === null) {
      this.#forget(null);
      return;
    }
    if (run !== this.#askedFor) this.#forget(run);
    const live = await ask<LiveStatus>(`api/status/live?run=${encodeURIComponent(run)}`);
    const moved = live.checkpoint_id !== this.live?.checkpoint_id || live.attempt !== this.live?.attempt;
    if (view.run !== run) {
      this.#again = true; // another run was opened meanwhile
      return;
    }
    this.live = live;
    this.refusal = null;
    this.#heard(live.timestamp);
    if (moved || this.detail === null || this.away !== null || now - this.#detailAt >= DETAIL_PERIOD) {
      const detail = await ask<RunDetail>(`api/runs/${encodeURIComponent(run)}`);
      if (view.run !== run) {
        this.#again = true;
        return;
      }
      this.detail = detail;
      this.#detailAt = now;
    }
    if (this.away !== null) this.#recoveries += 1;
    this.version = `${run} ${live.attempt} ${live.current_step} ${this.detail?.journal.good_lines} ${this.#recoveries}`;
  }

  #answered(): void {
    this.away = null;
    this.#retry = FIRST_RETRY;
  }

  #heard(timestamp: string): void {
    this.answeredAt = Date.now();
    clock.hear(timestamp);
  }

  #forget(run: string | null): void {
    this.#askedFor = run;
    this.live = null;
    this.detail = null;
    this.refusal = null;
  }

  /** What is on the screen stays there until the index has been built. */
  #unready(): void {
    this.#answered();
    this.answeredAt = Date.now();
    this.building = true;
    this.refusal = null;
  }

  #refused(error: Refused): void {
    this.#answered();
    this.answeredAt = Date.now();
    this.live = null;
    this.detail = null;
    this.refusal = error;
  }

  #failed(error: unknown): void {
    this.away = error instanceof Away ? error.message : 'its answer could not be read';
    this.retryAt = Date.now() + this.#retry;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (document.hidden) return; // visibilitychange looks again at once
    if (this.away === null) {
      this.#timer = setTimeout(() => void this.#look(), this.#period());
      return;
    }
    this.retryAt = Date.now() + this.#retry;
    this.#timer = setTimeout(() => void this.#look(), this.#retry);
    this.#retry = Math.min(this.#retry * 2, LONGEST_RETRY);
  }

  #period(): number {
    return this.live && !this.building ? PERIOD[this.live.status] : WAITING_PERIOD;
  }
}

export const feed = new Feed();
