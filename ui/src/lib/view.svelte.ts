/** What the user looks at. It lives in the address, in words, so that a link shows the same view. */
export type Scale = 'linear' | 'log';

export const DEFAULT_SMOOTHING = 0.9;
export const MAX_SMOOTHING = 0.99;

class View {
  run = $state<string | null>(null);
  series = $state<string | null>(null);
  smoothing = $state(DEFAULT_SMOOTHING);
  scale = $state<Scale>('linear');
  /** The answer format whose held-out lines are shown, or `all`; null is the plain one. */
  regime = $state<string | null>(null);
  /** The zoomed window in steps, both or neither. */
  window = $state.raw<{ from: number; to: number } | null>(null);

  constructor() {
    this.#read();
    addEventListener('popstate', () => this.#read());
  }

  openRun(run: string, entry: 'new' | 'same' = 'new'): void {
    if (run === this.run) return;
    this.run = run;
    this.window = null;
    this.#write(entry);
  }

  openSeries(name: string | null): void {
    this.series = name;
    this.#write('new');
  }

  smooth(smoothing: number): void {
    this.smoothing = Math.min(MAX_SMOOTHING, Math.max(0, smoothing));
    this.#write('same');
  }

  rescale(scale: Scale): void {
    this.scale = scale;
    this.#write('same');
  }

  openRegime(regime: string | null): void {
    this.regime = regime;
    this.#write('same');
  }

  zoom(from: number, to: number): void {
    const first = Math.max(0, Math.floor(Math.min(from, to)));
    this.window = { from: first, to: Math.max(first + 1, Math.ceil(Math.max(from, to))) };
    this.#write('same');
  }

  showAll(): void {
    if (!this.window) return;
    this.window = null;
    this.#write('same');
  }

  #read(): void {
    const query = new URLSearchParams(location.search);
    this.run = query.get('run') || null;
    this.series = query.get('series') || null;
    const smoothing = query.has('smoothing') ? Number(query.get('smoothing')) : Number.NaN;
    this.smoothing = smoothing >= 0 && smoothing <= MAX_SMOOTHING ? smoothing : DEFAULT_SMOOTHING;
    this.scale = query.get('scale') === 'log' ? 'log' : 'linear';
    this.regime = query.get('regime') || null;
    const from = step(query.get('from'));
    const to = step(query.get('to'));
    this.window = from !== null && to !== null && from < to ? { from, to } : null;
  }

  #write(entry: 'new' | 'same'): void {
    const query = new URLSearchParams();
    if (this.run) query.set('run', this.run);
    if (this.series) query.set('series', this.series);
    if (this.smoothing !== DEFAULT_SMOOTHING) query.set('smoothing', String(this.smoothing));
    if (this.scale !== 'linear') query.set('scale', this.scale);
    if (this.regime) query.set('regime', this.regime);
    if (this.window) {
      query.set('from', String(this.window.from));
      query.set('to', String(this.window.to));
    }
    // a series name reads better as exact_match/syllo than with %2F, and `/` is allowed in a query
    const text = query.toString().replaceAll('%2F', '/');
    const address = text ? `?${text}` : location.pathname;
    if (entry === 'new') history.pushState(null, '', address);
    else history.replaceState(null, '', address);
  }
}

function step(text: string | null): number | null {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

export const view = new View();
