/** What the user looks at. It lives in the address, in words, so that a link shows the same view. */
import { AXES, fitted, type Axis, type Span } from './abscissa';
import { REST } from './checkpoints';
import type { Quantity } from './layers';
import { unaskable } from './names';
import { DEFAULT_SMOOTHING, rung, type Smoothing } from './smoothing';

export type Page = 'overview' | 'charts';
type Entry = 'new' | 'same';

/** More lines than this cannot be told apart. */
export const MOST_RUNS = 8;

class View {
  run = $state<string | null>(null);
  page = $state<Page>('overview');
  /** The other runs of the comparison, in the order in which they came. */
  others = $state.raw<readonly string[]>([]);
  /** The series of the large chart; null is the loss. */
  series = $state<string | null>(null);
  smoothing = $state<Smoothing>(DEFAULT_SMOOTHING);
  axis = $state<Axis>('step');
  /** Series whose y-axis is logarithmic. */
  logs = $state.raw<ReadonlySet<string>>(new Set());
  /** Series that stand first. */
  stars = $state.raw<ReadonlySet<string>>(new Set());
  search = $state('');
  /** The answer format whose held-out lines are shown, or `all`; null is the plain one. */
  regime = $state<string | null>(null);
  /** An attempt that is drawn whole, with what a newer one went over again. */
  attempt = $state<number | null>(null);
  /** The zoomed window in units of the axis. */
  window = $state.raw<Span | null>(null);
  /** Where the cursor is pinned, and on which series' chart its tooltip stays. */
  pin = $state.raw<{ x: number; on: string } | null>(null);
  /** The alert that is pointed out, by its key. */
  alert = $state<string | null>(null);

  /** Which alerts are listed; null is the open ones while there are some. */
  listed = $state<'open' | 'all' | null>(null);
  /** What the cells of the layers over the steps hold. */
  quantity = $state<Quantity>('gradient_norm');
  /** Whether the series of single layers stand among the charts. */
  layered = $state(false);

  /** The checkpoint whose weights are shown, by its key; null is the newest that was read. */
  checkpoint = $state<string | null>(null);
  /** The layer whose tensors are listed. */
  layer = $state<number | null>(null);

  /** Whether the large chart stands as a table too. */
  table = $state(false);
  /** Whether the ranks of the large chart are drawn. */
  ranks = $state(true);
  /** Runs that the address asked for and that there was no room for; until another choice is made. */
  refused = $state.raw<readonly string[]>([]);
  /** What there is to see of the runs; set once, by the sheet of the charts. */
  whole: () => Span | null = () => null;

  /** Every run that is drawn, the open one first. */
  runs = $derived(this.run === null ? [] : [this.run, ...this.others]);

  constructor() {
    this.#read();
    addEventListener('popstate', () => this.#read());
  }

  openRun(run: string, entry: Entry = 'new'): void {
    if (run === this.run) return;
    const before = this.run;
    this.run = run;
    // a run of the comparison that is opened changes places with the one that was open
    this.others = before !== null && this.others.includes(run) ? this.others.map((each) => (each === run ? before : each)) : this.others;
    if (before !== null) {
      this.attempt = null;
      this.alert = null;
      this.checkpoint = null;
      this.layer = null;
      if (!this.others.length) {
        this.window = null;
        this.pin = null;
      }
    }
    this.#write(entry);
  }

  /** Add a run to the comparison or take it away; false if there is no room. */
  compare(run: string): boolean {
    if (run === this.run) return true;
    this.refused = [];
    if (this.others.includes(run)) this.others = this.others.filter((each) => each !== run);
    else if (this.runs.length >= MOST_RUNS) return false;
    else this.others = [...this.others, run];
    this.#write('same');
    return true;
  }

  compareNone(): void {
    this.refused = [];
    this.others = [];
    this.#write('same');
  }

  openPage(page: Page, series?: string | null): void {
    this.page = page;
    if (series !== undefined) this.series = series;
    this.#write('new');
    scrollTo(0, 0);
  }

  openSeries(name: string | null): void {
    this.series = name;
    this.#write('new');
  }

  smooth(smoothing: Smoothing): void {
    this.smoothing = smoothing;
    this.#write('same');
  }

  measure(axis: Axis): void {
    this.axis = axis;
    this.window = null;
    this.pin = null;
    this.#write('same');
  }

  toggleLog(name: string): void {
    this.logs = toggled(this.logs, name);
    this.#write('same');
  }

  toggleTable(): void {
    this.table = !this.table;
    this.#write('same');
  }

  toggleRanks(): void {
    this.ranks = !this.ranks;
    this.#write('same');
  }

  toggleStar(name: string): void {
    this.stars = toggled(this.stars, name);
    this.#write('same');
  }

  searchFor(text: string): void {
    this.search = text;
    this.#write('same');
  }

  openRegime(regime: string | null): void {
    this.regime = regime;
    this.#write('same');
  }

  showAttempt(attempt: number | null): void {
    this.attempt = attempt;
    this.#write('same');
  }

  pointOut(alert: string | null): void {
    this.alert = alert;
    this.#write('same');
  }

  listAlerts(which: 'open' | 'all'): void {
    this.listed = which;
    this.#write('same');
  }

  measureLayers(quantity: Quantity): void {
    this.quantity = quantity;
    this.#write('same');
  }

  toggleLayered(): void {
    this.layered = !this.layered;
    this.#write('same');
  }

  /** Look at the weights of a checkpoint; null is the newest, whichever that becomes. */
  openCheckpoint(key: string | null): void {
    this.checkpoint = key;
    this.#write('same');
  }

  /** List the tensors of a layer; null closes the list. */
  openLayer(layer: number | null): void {
    this.layer = layer;
    this.#write('same');
  }

  /** A window inside the whole; one as wide as that is no window. */
  zoom(from: number, to: number): void {
    const window = fitted({ from: Math.min(from, to), to: Math.max(from, to) }, this.whole());
    if (!window) {
      this.window = null;
      this.#write('same');
      return;
    }
    const low = Math.max(0, window.from);
    const high = window.to;
    const tenth = (value: number) => Math.round(value * 10) / 10;
    if (this.axis === 'step') this.window = { from: Math.floor(low), to: Math.max(Math.floor(low) + 1, Math.ceil(high)) };
    else this.window = { from: tenth(low), to: Math.max(tenth(low) + 0.1, tenth(high)) };
    this.#write('same');
  }

  pinAt(x: number | null, on: string): void {
    // down, because a place a little after a point belongs to the one that follows it
    this.pin = x === null ? null : { x: this.axis === 'step' ? Math.round(x) : Math.floor(x * 1000) / 1000, on };
    this.#write('same');
  }

  /** The whole run, nothing pinned, following again. */
  showAll(): void {
    if (!this.window && !this.pin) return;
    this.window = null;
    this.pin = null;
    this.#write('same');
  }

  /** The address of the same view on another page. */
  address(page: Page): string {
    return this.#text(page) || './';
  }

  #read(): void {
    const query = new URLSearchParams(location.search);
    this.run = query.get('run') || null;
    this.page = query.get('page') === 'charts' ? 'charts' : 'overview';
    const others = (query.get('with') ?? '').split(',').filter((each) => each && each !== this.run);
    const apart = [...new Set(others)];
    this.others = apart.slice(0, MOST_RUNS - 1);
    this.refused = apart.slice(MOST_RUNS - 1);
    this.series = query.get('series') || null;
    this.smoothing = query.has('smoothing') ? rung(Number(query.get('smoothing'))) : DEFAULT_SMOOTHING;
    this.axis = AXES.find((axis) => axis === query.get('x')) ?? 'step';
    this.logs = new Set(query.getAll('log'));
    this.stars = new Set(query.getAll('star'));
    this.search = query.get('search') ?? '';
    this.table = query.get('table') === 'open';
    this.ranks = query.get('ranks') !== 'off';
    this.regime = query.get('regime') || null;
    this.attempt = number(query.get('attempt'));
    this.alert = query.get('alert') || null;
    const listed = query.get('alerts');
    this.listed = listed === 'open' || listed === 'all' ? listed : null;
    this.quantity = query.get('cells') === 'update_ratio' ? 'update_ratio' : 'gradient_norm';
    this.layered = query.get('layers') === 'on';
    this.checkpoint = query.get('checkpoint') || null;
    this.layer = query.get('layer') === 'rest' ? REST : number(query.get('layer'));
    const from = number(query.get('from'));
    const to = number(query.get('to'));
    this.window = from !== null && to !== null && from < to ? { from, to } : null;
    const pin = number(query.get('at'));
    this.pin = pin === null ? null : { x: pin, on: query.get('on') ?? '' };
    // the address says what is shown, not what was asked for
    const snapped = query.has('smoothing') && query.get('smoothing') !== String(this.smoothing);
    if (snapped || this.refused.length) this.#write('same');
  }

  #text(page: Page): string {
    const query = new URLSearchParams();
    if (this.run) query.set('run', this.run);
    if (this.others.length) query.set('with', this.others.join(','));
    if (page !== 'overview') query.set('page', page);
    if (this.series && !unaskable(this.series)) query.set('series', this.series);
    if (this.smoothing !== DEFAULT_SMOOTHING) query.set('smoothing', String(this.smoothing));
    if (this.axis !== 'step') query.set('x', this.axis);
    for (const name of this.logs) if (!unaskable(name)) query.append('log', name);
    for (const name of this.stars) if (!unaskable(name)) query.append('star', name);
    if (this.search) query.set('search', this.search);
    if (this.table) query.set('table', 'open');
    if (!this.ranks) query.set('ranks', 'off');
    if (this.regime) query.set('regime', this.regime);
    if (this.attempt !== null) query.set('attempt', String(this.attempt));
    if (this.alert) query.set('alert', this.alert);
    if (this.listed) query.set('alerts', this.listed);
    if (this.quantity !== 'gradient_norm') query.set('cells', this.quantity);
    if (this.layered) query.set('layers', 'on');
    if (this.checkpoint !== null) query.set('checkpoint', this.checkpoint);
    if (this.layer !== null) query.set('layer', this.layer === REST ? 'rest' : String(this.layer));
    if (this.window) {
      query.set('from', String(this.window.from));
      query.set('to', String(this.window.to));
    }
    if (this.pin) {
      query.set('at', String(this.pin.x));
      if (this.pin.on) query.set('on', this.pin.on);
    }
    // a series name reads better as exact_match/syllo than with %2F; `/`, `,`, `:` and `@` are allowed in a query
    const text = query.toString().replaceAll('%2F', '/').replaceAll('%2C', ',').replaceAll('%3A', ':').replaceAll('%40', '@');
    return text ? `?${text}` : '';
  }

  #write(entry: Entry): void {
    const address = this.#text(this.page) || location.pathname;
    if (entry === 'new') history.pushState(null, '', address);
    else history.replaceState(null, '', address);
  }
}

function number(text: string | null): number | null {
  return text !== null && /^\d{1,15}(\.\d{1,6})?$/.test(text) ? Number(text) : null;
}

function toggled(set: ReadonlySet<string>, name: string): ReadonlySet<string> {
  const next = new Set(set);
  if (!next.delete(name)) next.add(name);
  return next;
}

export const view = new View();
