/** Alerts as the page shows them: what they are called, where on the curve they were, and what is watched. */
import { placeOf, type Axis } from './abscissa.ts';
import type { ActiveAlert, AdviceItem, AlertRow, Alerts, BatchOfAlert, ConditionRow, Num } from './documents';
import { count, counted, duration, numeric, percent, short } from './format.ts';
import type { Held } from './held';

/** What an alert is called in the address: where it was raised, and when. */
export function alertKey({ step, time }: Pick<ActiveAlert, 'step' | 'time'>): string {
  return `${step ?? ''}@${time}`;
}

type Standing = Pick<AlertRow, 'state' | 'category' | 'acknowledged' | 'attempt'>;

/** Whether an attempt ended with it open and a newer one goes on from there: what holds of that one, its own alerts say. */
export function isLeftBehind({ state, attempt }: Pick<Standing, 'state' | 'attempt'>, newest: number | null): boolean {
  return state === 'ended' && newest !== null && attempt < newest;
}

/** Whether it is not over; one of the user's own is over once somebody has said to have seen it, and not before. What an attempt left behind is history. */
export function isOpen(alert: Standing, newest: number | null): boolean {
  if (isLeftBehind(alert, newest)) return false;
  return alert.category === 'user' ? alert.acknowledged === null : alert.state !== 'resolved';
}

/** `2 open, 1 open at the end, 1 not acknowledged`: only what there is; together as many as are not over. */
export function sayCounts(alerts: readonly Standing[], newest: number | null): string {
  const open = alerts.filter((alert) => isOpen(alert, newest));
  const pending = open.filter(({ state }) => state === 'pending').length;
  const ended = open.filter(({ state }) => state === 'ended').length;
  const firing = open.length - pending - ended;
  const unseen = open.filter(({ state, acknowledged }) => state !== 'pending' && acknowledged === null).length;
  const parts = [firing && `${count(firing)} open`, ended && `${count(ended)} open at the end`, pending && `${count(pending)} pending`, unseen < firing + ended && `${count(unseen)} not acknowledged`];
  return parts.filter(Boolean).join(', ');
}

/** The tab of those that are not over: once the run has ended, they are what it left behind. */
export function sayOpen(alerts: readonly Standing[], newest: number | null, over: boolean): string {
  return `${over ? 'At the end' : 'Open'} ${count(alerts.filter((alert) => isOpen(alert, newest)).length)}`;
}

/** Which alerts are listed: those that are not over, if there are any and nobody asked for all. */
export function listed(alerts: Alerts['alerts'], newest: number | null, wanted: 'open' | 'all' | null): 'open' | 'all' {
  return wanted ?? (alerts.some(({ alert }) => isOpen(alert, newest)) ? 'open' : 'all');
}

/** How often and where it was seen: `seen 12 times in 3 episodes, steps 120 to 180`; what was seen once was seen at its own step, whenever it was over. */
export function sayLife({ count: times, step, last_step: last, spans }: Pick<AlertRow, 'count' | 'step' | 'last_step' | 'spans'>): string {
  if (times <= 1) return 'seen once';
  const seen = `seen ${count(times)} times${spans.length > 1 ? ` in ${count(spans.length)} episodes` : ''}`;
  return step === null || last === null || last <= step ? seen : `${seen}, steps ${count(step)} to ${count(last)}`;
}

/** The numbers behind it, by names for people and in units for people. */
export function figures(evidence: AlertRow['evidence']): [string, string][] {
  return Object.entries(evidence).map(([name, value]) => {
    const unit = UNITS.find(({ of }) => of.test(name));
    const said = words(unit?.cut ? name.replace(unit.of, (_, kept: unknown) => (typeof kept === 'string' ? kept : '')) : name);
    const finite = Number.isFinite(numeric(value));
    return [said, unit && finite ? unit.say(numeric(value)) : figure(value)];
  });
}

/** What the name of a number tells of its unit; the part that does is left out of the words where the unit says it. */
const UNITS: readonly { of: RegExp; cut: boolean; say: (value: number) => string }[] = [
  { of: /_per_sec$/, cut: false, say: (value) => short(Math.abs(value) >= 100 ? Math.round(value) : value) },
  { of: /(_step)?_s$/, cut: true, say: (value) => (Math.abs(value) < 10 ? `${short(value)} s` : duration(value)) },
  { of: /_gb$/, cut: true, say: (value) => `${figure(value)} GB` },
  { of: /_c$/, cut: true, say: (value) => `${figure(value)} °C` },
  { of: /_w$/, cut: true, say: (value) => `${figure(value)} W` },
  { of: /(^|_)pct(?=_|$)/, cut: true, say: (value) => percents(value / 100) },
  { of: /(?:^|_)share(?:_|$)|^(?:expected_gain|min_gain|top1_probability)/, cut: false, say: percents },
];

/** `4.8 %`, `58 %`: one place below ten, and where the whole is near, which is not reached by rounding. */
function percents(ratio: number): string {
  const size = Math.abs(ratio);
  const text = size > 0.99 && size < 1 ? percent(Math.min(size, 0.999), 1) : percent(size, size < 0.0995 && size !== 0 ? 1 : 0);
  return ratio < 0 ? `−${text}` : text;
}

function figure(value: Num): string {
  return typeof value === 'number' && Number.isInteger(value) && Math.abs(value) < 1e6 ? count(value) : short(value);
}

/** The other steps at which an example was in the batch, by its hash; a text that comes again and again is what to look at. */
export function alsoAt(batches: readonly BatchOfAlert[]): (hash: string, step: number) => number[] {
  const steps = new Map<string, Set<number>>();
  for (const { step, examples } of batches) {
    for (const { hash } of examples) steps.set(hash, (steps.get(hash) ?? new Set()).add(step));
  }
  return (hash, step) => [...(steps.get(hash) ?? [])].filter((other) => other !== step).sort((a, b) => a - b);
}

/** A field in words: `max_grad_norm` is `max grad norm`. */
export function words(name: string): string {
  return name.replace(/_per_sec$/, '/s').replaceAll('_', ' ').trim() || name;
}

const CONDITIONS: Record<string, string> = {
  non_finite_loss: 'Loss that is no number',
  masked_loss: 'Loss of exactly zero that hides a NaN',
  loss_spike: 'Loss spike',
  loss_diverged: 'Loss that stays above where it was',
  val_train_gap: 'Gap between evaluation and training loss',
  learning_rate_high: 'Learning rate too high',
  learning_rate_low: 'Learning rate too low',
  learning_rate_zero: 'Learning rate of zero',
  throughput_degraded: 'Throughput below its baseline',
  gpu_memory: 'GPU memory nearly full',
  gpu_temperature: 'GPU too hot',
  disk_full: 'Disk nearly full',
  constant_evaluation: 'Evaluation that always says the same',
};

/** What a condition is called for people. */
export function conditionTitle(name: string): string {
  const said = CONDITIONS[name] ?? words(name);
  return said.charAt(0).toUpperCase() + said.slice(1);
}

/** How many conditions are watched, and how many of them cannot be told: `17 conditions are watched, 2 of them without data`. */
export function sayConditions(conditions: readonly ConditionRow[]): string {
  const watched = `${counted(conditions.length, 'condition')} ${conditions.length === 1 ? 'is' : 'are'} watched`;
  const blind = conditions.filter(({ state }) => state === 'no_data').length;
  const broken = conditions.filter(({ state }) => state === 'error').length;
  return [watched, blind ? `${count(blind)} without data` : '', broken ? `${count(broken)} with an error` : ''].filter(Boolean).join(', ');
}

/** What is said of a condition now, by its newest alert, else by what is watched: `alert firing since step 40`; null where nothing is. What an older attempt left behind says nothing of now. */
export function stateNow({ alerts, conditions }: Pick<Alerts, 'alerts' | 'conditions'>, attempt: number | null, name: string): string | null {
  const newest = alerts.find(({ alert }) => alert.condition === name && !isLeftBehind(alert, attempt))?.alert;
  const since = newest?.step == null ? '' : ` since step ${count(newest.step)}`;
  if (newest?.state === 'firing' || newest?.state === 'recovering' || newest?.state === 'pending') return `alert ${newest.state}${since}`;
  if (newest?.state === 'ended') return `alert open at the end${since && `,${since}`}`;
  if (newest) return `alert${newest.step === null ? '' : ` of step ${count(newest.step)}`} resolved`;
  const watched = conditions.find((each) => each.name === name);
  if (!watched || watched.state === 'no_data' || watched.state === 'error') return null;
  return 'no alert';
}

const BY_STATE: readonly ConditionRow['state'][] = ['firing', 'recovering', 'pending', 'error', 'no_data', 'ok'];

/** What says something first stands first. */
export function sortedConditions(conditions: readonly ConditionRow[]): ConditionRow[] {
  return conditions.toSorted((a, b) => BY_STATE.indexOf(a.state) - BY_STATE.indexOf(b.state));
}

export const ACTIONS: Record<AdviceItem['action'], string> = {
  continue: 'Go on',
  stop: 'Stop',
  lower_learning_rate: 'Lower the learning rate',
  inspect_layers: 'Look at layers',
  use_checkpoint: 'Use a checkpoint',
};

/** The gravest first. */
export const LEVEL_ORDER: readonly AlertRow['level'][] = ['critical', 'warning', 'info'];

/** Those that can be drawn beside each other, from left to right: of any that are closer than `room` the gravest, and `always` the one that is pointed out. */
export function apart<T extends Pick<AlertRow, 'level'> & { x: number }>(alerts: readonly T[], room: number, always: (alert: T) => boolean): T[] {
  const kept: T[] = [];
  const first = (alert: T) => (always(alert) ? -1 : LEVEL_ORDER.indexOf(alert.level));
  for (const alert of alerts.toSorted((a, b) => first(a) - first(b) || a.x - b.x)) {
    if (always(alert) || kept.every((other) => Math.abs(other.x - alert.x) >= room)) kept.push(alert);
  }
  return kept.sort((a, b) => a.x - b.x);
}

/** A stretch of the x-axis over which an alert of a level was firing. */
export interface Band {
  level: AlertRow['level'];
  from: number;
  to: number;
  /** Whether it is of something that lasts: that is a line along the edge, and would hide a curve if it were filled. */
  lasting: boolean;
}

/** Conditions that a run is in for long; a spike or a norm that explodes is a moment. */
const LASTING: readonly string[] = ['dead_layers', 'gradient_imbalance', 'vanishing_gradients', 'plateau', 'val_train_gap'];
const MOMENTS: readonly AlertRow['category'][] = ['loss', 'gradients'];

/** Where alerts were firing; stretches that touch are one, so that many are no darker than one. What the user raised is a point, and none. The steps that a newer attempt made anew are its own: what was there before lies behind none of them. */
export function bands(alerts: readonly AlertRow[], series: Held, axis: Axis): Band[] {
  const end = series.step.at(-1);
  const newest = series.attempts.at(-1)?.attempt;
  const found: Band[] = [];
  for (const level of ['info', 'warning', 'critical'] as const) {
    for (const lasting of [true, false]) {
      const placed = alerts
        .filter((alert) => alert.level === level && alert.condition !== '' && lasting === (LASTING.includes(alert.condition) || !MOMENTS.includes(alert.category)))
        .flatMap((alert) =>
          alert.spans.flatMap(({ first, last }) => {
            // what never was over lasts as long as its attempt
            const hidden = series.attempts.find(({ attempt }) => attempt === alert.attempt)?.shown_until ?? Infinity;
            const until = Math.min(last ?? (newest === undefined || alert.attempt === newest ? end : alert.last_step) ?? first, hidden - 1);
            if (first > until) return [];
            const [from, to] = [placeOf(series, axis, first), placeOf(series, axis, until)];
            return from === null || to === null || to < from ? [] : [{ level, from, to, lasting }];
          }),
        )
        .sort((a, b) => a.from - b.from);
      let before: Band | undefined;
      for (const band of placed) {
        if (before && band.from <= before.to) before.to = Math.max(before.to, band.to);
        else found.push((before = band));
      }
    }
  }
  return found;
}
