/**
 * Asks for the series that the page shows: those that are wanted in the same way are asked for together, and after the
 * first answer only for what is new. A change is asked for at once, but a group never more than once in its period,
 * and never twice at a time.
 */
import type { Span } from './abscissa.ts';
import { ask, Away, Building, Refused } from './ask.ts';
import type { SeriesSet } from './documents';
import { held, type Held } from './held.ts';

export interface Wanted {
  run: string;
  name: string;
  smoothing: number;
  buckets: number;
  /** A window of steps, or of the clock in unix seconds; null follows the run. */
  window: (Span & { of: 'steps' | 'clock' }) | null;
  attempt: number | null;
  times: boolean;
  ranks: boolean;
  /** Milliseconds between two requests at least. */
  period: number;
}

/** Whoever wants a series. */
export interface Holder {
  take(value: Held): void;
  refuse(message: string): void;
}

/** What became of the server, for whoever waits for it. */
export interface Outlook {
  lost(error: Away): void;
  explains(error: unknown): boolean;
}

interface Entry {
  holders: Set<Holder>;
  value: Held | null;
}

interface Group {
  wanted: Wanted;
  entries: Map<string, Entry>;
  due: Set<string>;
  running: boolean;
  timer: ReturnType<typeof setTimeout> | undefined;
  askedAt: number;
  cancel: AbortController;
}

const MOST_NAMES = 64;
const LONGEST_QUERY = 6000; // bytes; servers and proxies refuse long addresses

class Rounds {
  /** Set once, by whoever watches the server. */
  outlook: Outlook = { lost: () => undefined, explains: () => false };
  #groups = new Map<string, Group>();

  /** Begin to want; the result ends it. */
  join(wanted: Wanted, holder: Holder): () => void {
    const key = JSON.stringify({ ...wanted, name: '' });
    let group = this.#groups.get(key);
    if (!group) {
      group = { wanted, entries: new Map(), due: new Set(), running: false, timer: undefined, askedAt: -Infinity, cancel: new AbortController() };
      this.#groups.set(key, group);
    }
    const own = group;
    const entry = own.entries.get(wanted.name) ?? { holders: new Set(), value: null };
    own.entries.set(wanted.name, entry);
    entry.holders.add(holder);
    if (entry.value) holder.take(entry.value);
    else {
      own.due.add(wanted.name);
      queueMicrotask(() => this.#start(own)); // the other charts of the page want theirs in this same moment
    }
    return () => {
      entry.holders.delete(holder);
      if (entry.holders.size > 0) return;
      own.entries.delete(wanted.name);
      own.due.delete(wanted.name);
      if (own.entries.size > 0) return;
      clearTimeout(own.timer);
      own.cancel.abort();
      this.#groups.delete(key);
    };
  }

  /** Something was added to a run, or to any; a window that somebody looks at stays as it is. */
  moved(run: string | null): void {
    for (const group of this.#groups.values()) {
      if (run !== null && group.wanted.run !== run) continue;
      for (const [name, entry] of group.entries) if (group.wanted.window === null || entry.value === null) group.due.add(name);
      this.#soon(group);
    }
  }

  #soon(group: Group): void {
    if (group.running || group.due.size === 0) return;
    clearTimeout(group.timer);
    const fresh = [...group.due].some((name) => !group.entries.get(name)?.value);
    const wait = fresh ? 0 : group.askedAt + group.wanted.period - performance.now();
    if (wait <= 0) this.#start(group);
    else group.timer = setTimeout(() => this.#start(group), wait);
  }

  #start(group: Group): void {
    if (document.hidden) return; // it stays due, and whoever watches the server says when the tab is seen again
    if (group.running || group.due.size === 0 || group.cancel.signal.aborted) return;
    void this.#ask(group);
  }

  async #ask(group: Group): Promise<void> {
    group.running = true;
    group.askedAt = performance.now();
    const names = [...group.due];
    group.due.clear();
    const fresh = names.filter((name) => !group.entries.get(name)?.value);
    const known = names.filter((name) => group.entries.get(name)?.value);
    try {
      for (const chunk of [...chunks(group, known), ...chunks(group, fresh)]) await this.#exchange(group, chunk);
    } catch (error) {
      if (group.cancel.signal.aborted) return;
      for (const name of names) if (group.entries.has(name)) group.due.add(name);
      group.running = false;
      // whoever watches the server says when it is there again
      if (!(error instanceof Building) && !this.outlook.explains(error)) {
        this.outlook.lost(error instanceof Away ? error : new Away('its answer could not be read'));
      }
      return;
    }
    group.running = false;
    this.#soon(group);
  }

  async #exchange(group: Group, names: string[]): Promise<void> {
    const before = names.map((name) => group.entries.get(name)?.value ?? null);
    let set: SeriesSet;
    try {
      set = await ask<SeriesSet>(seriesAddress(group.wanted, names, before.map((value) => value?.cursor ?? null)), group.cancel.signal);
    } catch (error) {
      if (group.cancel.signal.aborted || !(error instanceof Refused) || this.outlook.explains(error)) throw error;
      if (error.status === 401 || error.status === 429) throw new Away(error.message);
      if (before.some((value) => value !== null)) {
        // the place that we hold is no longer known: ask for all of it
        for (const name of names) {
          const entry = group.entries.get(name);
          if (entry) entry.value = null;
          group.due.add(name);
        }
        return;
      }
      if (names.length > 1) {
        for (const name of names) await this.#exchange(group, [name]); // one that is not there does not take the others away
        return;
      }
      for (const name of names) for (const holder of group.entries.get(name)?.holders ?? []) holder.refuse(error.message);
      return;
    }
    const asked = new Map(names.map((name, at) => [name, before[at] ?? null]));
    for (const series of set.series) {
      const entry = group.entries.get(series.name);
      if (!entry) continue;
      entry.value = held(set, series, asked.get(series.name) ?? null);
      for (const holder of entry.holders) holder.take(entry.value);
    }
  }
}

function chunks(group: Group, names: string[]): string[][] {
  const all: string[][] = [];
  let size = Infinity;
  for (const name of names) {
    const own = encodeURIComponent(name).length + (group.entries.get(name)?.value?.cursor.length ?? 0) + 16;
    const last = all.at(-1);
    if (last && last.length < MOST_NAMES && size + own <= LONGEST_QUERY) {
      last.push(name);
      size += own;
    } else {
      all.push([name]);
      size = own;
    }
  }
  return all;
}

export function seriesAddress(wanted: Wanted, names: string[], cursors: (string | null)[]): string {
  const query = new URLSearchParams({ run: wanted.run, buckets: String(wanted.buckets), smoothing: String(wanted.smoothing) });
  for (const name of names) query.append('name', name);
  for (const cursor of cursors) if (cursor !== null) query.append('cursor', cursor);
  if (wanted.window) {
    const [from, to] = wanted.window.of === 'steps' ? ['first', 'last'] : ['since', 'until'];
    query.set(from as string, String(wanted.window.from));
    query.set(to as string, String(wanted.window.to));
  }
  if (wanted.attempt !== null) query.set('attempt', String(wanted.attempt));
  if (wanted.times) query.set('times', 'true');
  if (wanted.ranks) query.set('ranks', 'true');
  return `api/series?${query}`;
}

export const rounds = new Rounds();
