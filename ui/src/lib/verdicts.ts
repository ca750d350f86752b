/** What a run was judged by, as the page shows it: names and numbers in words, and the steps that a verdict rests on. */
import type { Figure, Finding, Judged, Verdicts } from './documents';
import { count, MISSING, short, spelled } from './format.ts';
import type { Held } from './held';

/** The verdict on the loss curve, whose steps are marked there. */
export const OF_THE_CURVE = 'training_drift';
/** Steps that one sentence names. */
const NAMED = 5;

const TITLES: Record<string, string> = {
  training_drift: 'Loss curve',
  gradient_ghost: 'Gradients',
  layer_drift: 'Layer drift',
  weight_stability: 'Weight stability',
  exact_match_gain: 'Gain in exact match',
  loss_finite: 'Finite losses',
};

const FIGURES: Record<string, string> = {
  final_loss: 'last finite loss',
  initial_loss: 'first finite loss',
  convergence_ratio: 'last / first finite loss',
  smoothness: 'smoothness, step to step',
  instability_events: 'steep rises',
  num_steps: 'steps with a loss',
  convergence_v2: 'end / beginning',
  smoothness_v2: 'variance that is no noise',
  spikes_v2: 'spikes',
  end_rise: 'end / lowest level',
  shown_steps: 'steps with a loss that are shown',
  non_finite: 'losses that are no number',
  zero_loss: 'losses of exactly 0',
  step: 'step of the save',
  median: 'median of the blocks',
  largest: 'largest block',
  n: 'items',
};

const TEXTS: Record<string, string> = { nan: 'no number', inf: 'infinite', '-inf': 'minus infinite' };

/** The name of a verdict for people: ours have one of their own, any other is its field without the underscores. */
export function verdictTitle(name: string): string {
  const said = TITLES[name] ?? name.replaceAll('_', ' ').trim();
  return said.charAt(0).toUpperCase() + said.slice(1);
}

/** The name of a number for people, and the field itself where the two are not alike. */
export function figureTitle(name: string): { title: string; field: string } {
  const title = FIGURES[name];
  return title === undefined ? { title: name.replaceAll('_', ' '), field: '' } : { title, field: name };
}

/** The number, four digits of it unless it is whole; in words where it is not finite. */
export function sayFigure({ value, text }: Pick<Figure, 'value' | 'text'>): string {
  if (value === null) return text === null ? MISSING : (TEXTS[text] ?? text);
  return whole(value) ? count(value) : short(value);
}

/** What the number is compared with: `≤ 0.98`; empty if with nothing. */
export function sayThreshold({ sign, threshold }: Pick<Figure, 'sign' | 'threshold'>): string {
  if (threshold === null) return '';
  return `${sign === '<=' ? '≤ ' : sign === '>=' ? '≥ ' : ''}${sayLimit(threshold)}`;
}

export function sayLimit(threshold: number): string {
  return whole(threshold) ? count(threshold) : short(threshold).replace(/\.?0+(?=e|$)/, '');
}

function whole(value: number): boolean {
  return Number.isInteger(value) && Math.abs(value) < 1e6;
}

/** Whether a verdict asks for a look: its numbers stand open. */
export function grave({ verdict }: Pick<Judged, 'verdict'>): boolean {
  return verdict === 'FAIL' || verdict === 'WARN' || verdict === 'ERROR';
}

/** The numbers, first those that missed their threshold, then those that held it, then those without one. */
export function ranked(figures: readonly Figure[]): Figure[] {
  const place = ({ held }: Figure) => (held === false ? 0 : held === true ? 1 : 2);
  return figures.toSorted((a, b) => place(a) - place(b));
}

/** All thresholds by name where not each of them stands beside a number: which one does is not told. */
export function looseThresholds({ figures, thresholds }: Pick<Judged, 'figures' | 'thresholds'>): [string, number][] {
  const beside = figures.filter(({ threshold }) => threshold !== null).length;
  const all = Object.entries(thresholds);
  return all.length > beside ? all : [];
}

export interface Reading {
  message: string;
  cause: string;
  action: string;
}

/** What of a finding the verdict's own sentences leave to say; empty where they have said it. */
export function leftToSay(finding: Finding, { message, advice, findings }: Pick<Judged, 'message' | 'advice' | 'findings'>): Reading {
  const first = findings.find(({ severity }) => severity !== 'info');
  return {
    message: finding.message === message ? '' : finding.message,
    cause: finding.cause,
    action: finding === first && finding.action === advice ? '' : finding.action,
  };
}

/** A step that the verdict on the curve rests on. */
export interface Evidence {
  step: number;
  verdict: Judged['verdict'];
}

/** The steps to mark on the loss; none while the verdict names none. */
export function evidenceOf(document: Verdicts | null, run: string): Evidence[] {
  if (document?.run !== run) return [];
  return document.verdicts.filter(({ name }) => name === OF_THE_CURVE).flatMap(({ steps, verdict }) => steps.map((step) => ({ step, verdict })));
}

/** What is at such a step, as far as the curve tells: a value that is no number, else a spike. */
export function sayWhat(series: Held | null, step: number): string {
  if (!series) return 'spike or no number';
  const point = series.non_finite.find((each) => each.step === step);
  if (point) return spelled(point.value);
  const bucket = series.step.findIndex((last, at) => step <= last && step >= (series.first[at] ?? last));
  return bucket >= 0 && series.non_finite_in_bucket[bucket] === 0 ? 'spike' : 'spike or no number';
}

/** One mark in words: what is at its steps, and which verdict says so. */
export function sayEvidence(series: Held | null, evidence: readonly Evidence[]): string {
  const named = evidence.slice(0, NAMED).map(({ step }) => (evidence.length > 1 ? `${sayWhat(series, step)} at ${count(step)}` : sayWhat(series, step)));
  const more = evidence.length > NAMED ? `, and ${count(evidence.length - NAMED)} more` : '';
  return `${named.join(', ')}${more}. Judged by ${OF_THE_CURVE}: ${evidence[0]?.verdict ?? ''}.`;
}

/** Things along a line of pixels, left to right; those closer than `apart` to the first of a group are one. */
export function together<T extends { x: number }>(placed: readonly T[], apart: number): { x: number; all: T[] }[] {
  const found: { x: number; all: T[] }[] = [];
  for (const one of placed.toSorted((a, b) => a.x - b.x)) {
    const last = found.at(-1);
    if (last && one.x - last.x < apart) last.all.push(one);
    else found.push({ x: one.x, all: [one] });
  }
  return found;
}
