/**
 * Keeps the documents of the open runs fresh. The event stream says when something changed; without it they are asked
 * for in periods. One loop: when the server is away, nothing else asks it.
 */
import { ask, Away, Building, Refused } from './ask';
import { clock } from './clock.svelte';
import type { Changes, LiveStatus, RunDetail, Runs, RunState } from './documents';
import { monitors } from './monitors.svelte';
import { rounds } from './rounds';
import { Stream } from './stream';
import { judgements } from './verdicts.svelte';
import { view } from './view.svelte';
import { weights } from './weights.svelte';

/** Milliseconds between two looks without a stream, by what the run does. */
const PERIOD: Record<RunState, number> = { training: 1000, paused: 2000, idle: 2000, completed: 5000, crashed: 5000 };
const WAITING_PERIOD = 2000;
/** With a stream a look is only made sure of: it notices a server that hangs. */
const SURE_PERIOD = 5000;
/** Two looks because of changes are at least so far apart. */
const SPACING = 500;
const RUNS_PERIOD = 5000;
const RUNS_SPACING = 1000;
const DETAIL_PERIOD = 3000;
/** What a run consists of is asked for again because of changes, but not more often than this. */
const DETAIL_SPACING = 2000;
/** A run with very many series has a large document. */
const LARGE_DETAIL_PERIOD = 15_000;
const LARGE_DETAIL = 1000;
const FIRST_RETRY = 1000;
const LONGEST_RETRY = 30_000;
const MISSED_PERIODS = 3;
/** Changes that only move the figures, not what a run consists of. */
const FIGURES = new Set(['points', 'heartbeat', 'signals', 'hardware', 'advice', 'batch', 'notification']);
/** Changes that no verdict rests on. */
const UNJUDGED = new Set(['heartbeat', 'signals', 'hardware', 'advice', 'batch', 'notification', 'acknowledgement']);
/** Changes after which the checkpoints may stand otherwise, or hold other numbers; a writer that begins or ends may be the watcher. */
const OF_WEIGHTS = new Set(['weights_pass', 'job', 'checkpoint', 'banner', 'run_complete', 'files', 'any']);

class Feed {
  runs = $state.raw<Runs | null>(null);
  live = $state.raw<LiveStatus | null>(null);
  detail = $state.raw<RunDetail | null>(null);
  /** The other runs of the comparison; null is one that the server does not give. */
  compared = $state.raw<ReadonlyMap<string, RunDetail | null>>(new Map());
  /** What the server says when it does not let us see this run, or knows none of that name. */
  refusal = $state.raw<Refused | null>(null);
  /** Why the server counts as away; null while it answers. */
  away = $state<string | null>(null);
  /** Whether the server still builds its index: what is missing may come. */
  building = $state(false);
  /** Whether changes come by themselves. */
  streaming = $state(false);
  answeredAt = $state(0);
  detailAt = $state(0);
  retryAt = $state(0);

  #stream = new Stream({
    opened: () => this.#opened(),
    changed: (changes) => this.#changed(changes),
    failed: () => this.#streamFailed(),
  });
  #timer: ReturnType<typeof setTimeout> | undefined;
  #openedBefore = false;
  #running = false;
  #again = false;
  #retry = FIRST_RETRY;
  #lookedAt = -Infinity;
  #runsAt = 0;
  #comparedAt = 0;
  #runsDue = false;
  #detailDue = false;
  #detailAskedAt = -Infinity;
  /** How often in a row the open run was refused, and until when it is not asked for again. */
  /** Runs that the server has listed since the page was opened. */
  readonly #seen = new Set<string>();
  #refusals = 0;
  #refusedUntil = -Infinity;
  #askedFor: string | null = null;

  /** Milliseconds after which figures are stale: three periods, and a little for the way. */
  patience = $derived(MISSED_PERIODS * Math.max(this.#period(), this.#detailPeriod()) + 1000);
  /** Whether what is on the screen is stale although nothing has failed yet. */
  stale = $derived(this.answeredAt > 0 && clock.now - this.answeredAt > this.patience);

  constructor() {
    rounds.outlook = this;
  }

  /** Start looking; the result stops it. */
  start(): () => void {
    const seen = () => {
      if (document.hidden) {
        this.#stream.close(); // a browser has few connections for one server, and other tabs want theirs
        this.streaming = false;
        clearTimeout(this.#timer);
        return;
      }
      this.#stream.open();
      this.lookNow();
      judgements.moved();
    };
    document.addEventListener('visibilitychange', seen);
    addEventListener('online', seen);
    if (!document.hidden) this.#stream.open();
    this.lookNow();
    return () => {
      clearTimeout(this.#timer);
      this.#stream.close();
      document.removeEventListener('visibilitychange', seen);
      removeEventListener('online', seen);
    };
  }

  lookNow(): void {
    clearTimeout(this.#timer);
    this.#runsDue = true;
    this.#detailDue = true;
    this.#detailAskedAt = -Infinity;
    this.#refusedUntil = -Infinity;
    rounds.moved(null);
    weights.moved();
    for (const each of monitors) each.moved();
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

  #opened(): void {
    this.streaming = true;
    this.lookNow();
    if (this.#openedBefore) judgements.moved(); // what happened meanwhile nobody told
    this.#openedBefore = true;
  }

  #streamFailed(): void {
    if (!this.streaming) return;
    this.streaming = false;
    this.#lookWithin(0);
  }

  #changed(changes: Changes): void {
    if (changes.rebuilt || changes.dropped > 0) {
      this.lookNow();
      judgements.moved();
      return;
    }
    let ours = false;
    for (const { run, what } of changes.runs) {
      const more = what.some((kind) => !FIGURES.has(kind));
      if (view.runs.includes(run)) {
        ours = true;
        this.#refusedUntil = -Infinity;
        if (more) this.#detailDue = true;
        if (more || what.includes('points')) rounds.moved(run);
        if (run === view.run && what.some((kind) => OF_WEIGHTS.has(kind))) weights.moved();
        if (run === view.run && what.some((kind) => !UNJUDGED.has(kind))) judgements.moved();
        if (run === view.run) for (const each of monitors) each.told(what);
      }
      if (more || !view.runs.includes(run)) this.#runsDue = true;
    }
    if (changes.gone.length) this.#runsDue = true;
    if (ours || (this.live === null && this.refusal === null)) this.#lookWithin(SPACING);
    else if (this.#runsDue) this.#lookWithin(RUNS_SPACING);
  }

  /** Look at once, or as soon as the last look is `spacing` milliseconds ago. */
  #lookWithin(spacing: number): void {
    if (this.away !== null && spacing > 0) return; // the wait for a lost server is not shortened by an old event
    if (this.#running) {
      this.#again = true;
      return;
    }
    clearTimeout(this.#timer);
    const wait = this.#lookedAt + spacing - performance.now();
    if (wait <= 0) void this.#look();
    else this.#timer = setTimeout(() => void this.#look(), wait);
  }

  async #look(): Promise<void> {
    this.#running = true;
    this.#again = false;
    this.#lookedAt = performance.now();
    try {
      await this.#refresh();
      this.#answered();
    } catch (error) {
      if (error instanceof Building || this.explains(error)) this.#unready();
      else if (error instanceof Refused) this.#refused(error);
      else this.#failed(error);
    }
    this.#running = false;
    if (this.#again && this.away === null) this.#lookWithin(SPACING);
    else this.#schedule();
  }

  async #refresh(): Promise<void> {
    const now = Date.now();
    const recovered = this.away !== null;
    const blind = view.run === null || this.runs === null || this.building || recovered;
    const wasBuilding = this.building;
    if (blind || now - this.#runsAt >= (this.#runsDue ? RUNS_SPACING : RUNS_PERIOD)) await this.#refreshRuns(now);
    const run = view.run;
    if (run === null) {
      this.#forget(null);
      return;
    }
    if (run !== this.#askedFor) this.#forget(run);
    if (this.refusal !== null && performance.now() < this.#refusedUntil) return;
    const changed = this.#detailDue && performance.now() - this.#detailAskedAt >= DETAIL_SPACING;
    const early = this.detail === null || changed || recovered || now - this.detailAt >= this.#detailPeriod();
    if (early) {
      this.#detailAskedAt = performance.now();
      this.#detailDue = false; // what is told from here on may not be in the answer
    }
    const [live, detail] = await Promise.all([
      ask<LiveStatus>(`api/status/live?run=${encodeURIComponent(run)}`),
      early ? ask<RunDetail>(`api/runs/${encodeURIComponent(run)}`) : null,
    ]);
    if (view.run !== run) {
      this.#again = true; // another run was opened meanwhile
      return;
    }
    this.live = live;
    judgements.stands(run, live.status);
    this.refusal = null;
    this.#refusals = 0;
    this.#heard(live.timestamp);
    if (detail) {
      this.detail = detail;
      this.detailAt = Date.now();
    }
    await this.#refreshCompared(early || recovered);
    if (recovered || (wasBuilding && !this.building)) {
      rounds.moved(null);
      weights.moved();
      judgements.moved();
      for (const each of monitors) each.moved();
    }
  }

  async #refreshRuns(now: number): Promise<void> {
    this.#runsDue = false;
    const before = this.runs?.runs ?? [];
    this.runs = await ask<Runs>('api/runs');
    this.#runsAt = now;
    this.#heard(this.runs.timestamp);
    this.building = this.runs.index === 'rebuilding';
    const newest = this.runs.runs[0];
    const refused = this.refusal !== null;
    // after a folder that was emptied the page fills again by itself; a run that never was is only offered another
    const emptied = refused && before.length === 0 && view.run !== null && this.#seen.has(view.run);
    if (newest && (view.run === null || emptied)) view.openRun(newest.run, 'same');
    for (const { run } of this.runs.runs) this.#seen.add(run);
    const known = (rows: Runs['runs']) => rows.some((row) => row.run === view.run);
    if (refused && known(this.runs.runs) && !known(before)) this.#refusedUntil = -Infinity;
  }

  async #refreshCompared(due: boolean): Promise<void> {
    const wanted = view.others;
    const missing = wanted.filter((run) => !this.compared.has(run));
    if (missing.length === 0 && wanted.length === this.compared.size && !(due && Date.now() - this.#comparedAt >= RUNS_PERIOD)) return;
    this.#comparedAt = Date.now();
    const found = await Promise.all(
      wanted.map(async (run): Promise<[string, RunDetail | null]> => {
        try {
          return [run, await ask<RunDetail>(`api/runs/${encodeURIComponent(run)}`)];
        } catch (error) {
          if (error instanceof Refused) return [run, null];
          throw error;
        }
      }),
    );
    this.compared = new Map(found);
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
    this.#refusals = 0;
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
    this.#detailDue = false;
    this.#refusedUntil = performance.now() + Math.min(WAITING_PERIOD * 2 ** this.#refusals, LONGEST_RETRY);
    this.#refusals += 1;
  }

  #failed(error: unknown): void {
    this.away = error instanceof Away ? error.message : 'its answer could not be read';
    this.retryAt = Date.now() + this.#retry;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (document.hidden) return; // visibilitychange looks again at once
    if (this.away === null) {
      this.#timer = setTimeout(() => {
        rounds.moved(null); // nothing new costs next to nothing, and a change that nobody told would be lost
        weights.sure();
        for (const each of monitors) each.sure();
        judgements.sure(this.streaming);
        void this.#look();
      }, Math.min(this.#runsDue ? RUNS_SPACING : this.#period(), this.#untilDetail()));
      return;
    }
    this.retryAt = Date.now() + this.#retry;
    this.#timer = setTimeout(() => void this.#look(), this.#retry);
    this.#retry = Math.min(this.#retry * 2, LONGEST_RETRY);
  }

  #detailPeriod(): number {
    return (this.detail?.series.length ?? 0) > LARGE_DETAIL ? LARGE_DETAIL_PERIOD : DETAIL_PERIOD;
  }

  /** Milliseconds until a change of what the run consists of is looked at. */
  #untilDetail(): number {
    if (!this.#detailDue || this.live === null) return Infinity;
    return Math.max(SPACING, this.#detailAskedAt + DETAIL_SPACING - performance.now());
  }

  #period(): number {
    if (this.refusal !== null) return RUNS_PERIOD;
    if (!this.live || this.building) return WAITING_PERIOD;
    return this.streaming ? SURE_PERIOD : PERIOD[this.live.status];
  }
}

export const feed = new Feed();
