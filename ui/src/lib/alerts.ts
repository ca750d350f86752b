/** Alerts as the page shows them: what they are called, where on the curve they were, and what is watched. */
import { placeOf, placeOfAlert, type Axis } from './abscissa.ts';
import type { ActiveAlert, AdviceItem, AlertRow, Alerts, ConditionRow, Num } from './documents';
import { count, counted, short } from './format.ts';
import type { Held } from './held';

/** What an alert is called in the address: where it was raised, and when. */
export function alertKey({ step, time }: Pick<ActiveAlert, 'step' | 'time'>): string {
  return `${step ?? ''}@${time}`;
}

/** Whether it is not over. */
export function isOpen({ state }: Pick<AlertRow, 'state'>): boolean {
  return state !== 'resolved';
}

/** Which alerts are listed: those that are not over, if there are any and nobody asked for all. */
export function listed(alerts: Alerts['alerts'], wanted: 'open' | 'all' | null): 'open' | 'all' {
  return wanted ?? (alerts.some(({ alert }) => isOpen(alert)) ? 'open' : 'all');
}

/** How often and where it was seen: `seen 12 times, steps 120 to 180`. */
export function sayLife({ count: times, step, last_step: last }: Pick<AlertRow, 'count' | 'step' | 'last_step'>): string {
  const seen = times > 1 ? `seen ${count(times)} times` : 'seen once';
  if (step === null) return seen;
  return last === null || last <= step ? seen : `${seen}, steps ${count(step)} to ${count(last)}`;
}

/** The numbers behind it, by names for people. */
export function figures(evidence: AlertRow['evidence']): [string, string][] {
  return Object.entries(evidence).map(([name, value]) => [words(name), figure(value)]);
}

function figure(value: Num): string {
  return typeof value === 'number' && Number.isInteger(value) && Math.abs(value) < 1e6 ? count(value) : short(value);
}

/** A field in words: `max_grad_norm` is `max grad norm`. */
export function words(name: string): string {
  return name.replaceAll('_', ' ').trim() || name;
}

const CONDITIONS: Record<string, string> = {
  non_finite_loss: 'Loss that is no number',
  masked_loss: 'Loss of exactly zero that hides a NaN',
  loss_spike: 'Loss spike',
  val_train_gap: 'Gap between evaluation and training loss',
  learning_rate_high: 'Learning rate too high',
  learning_rate_low: 'Learning rate too low',
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

/** A stretch of the x-axis over which an alert of a level lasted. */
export interface Band {
  level: AlertRow['level'];
  from: number;
  to: number;
}

/** Where alerts lasted; stretches of one level that touch are one, so that many are no darker than one. */
export function bands(alerts: readonly AlertRow[], series: Held, axis: Axis): Band[] {
  const found: Band[] = [];
  for (const level of ['info', 'warning', 'critical'] as const) {
    const placed = alerts
      .flatMap((alert) => {
        const from = alert.level === level && alert.step !== null ? placeOfAlert(series, axis, alert) : null;
        const to = alert.last_step === null || alert.step === null || alert.last_step <= alert.step ? null : placeOf(series, axis, alert.last_step);
        return from === null || to === null || to <= from ? [] : [{ level, from, to }];
      })
      .sort((a, b) => a.from - b.from);
    let last: Band | undefined;
    for (const band of placed) {
      if (last && band.from <= last.to) last.to = Math.max(last.to, band.to);
      else found.push((last = band));
    }
  }
  return found;
}
