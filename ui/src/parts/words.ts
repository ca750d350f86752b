/** The icon and the tone that belong to each word of a document. */
import { isLeftBehind } from '../lib/alerts.ts';
import type { Standing } from '../lib/checkpoints';
import type { AdviceItem, AlertRow, CheckpointWeights, ConditionRow, DriftColour, LiveStatus, RunRow, RunState, Verdict } from '../lib/documents';
import type { LayerStatus } from '../lib/layers';
import type { IconName } from './Icon.svelte';

/** A tone is a CSS class of app.css: colour is the third sign, after the word and the icon. */
export type Tone = 'calm' | 'good' | 'warn' | 'bad' | 'lit';

export interface Sign {
  icon: IconName;
  tone: Tone;
}

export const STATES: Record<RunState, Sign> = {
  training: { icon: 'training', tone: 'lit' },
  paused: { icon: 'paused', tone: 'warn' },
  completed: { icon: 'completed', tone: 'good' },
  crashed: { icon: 'crashed', tone: 'bad' },
  idle: { icon: 'idle', tone: 'calm' },
};

/** A run that ended without saying how: it is neither good nor bad. */
export const ENDED: Sign = { icon: 'ended', tone: 'calm' };
const UNSAID = 'ended without saying whether it succeeded';

/** Whether a run counts as completed, but nobody said whether it succeeded. */
export function outcomeUnknown(row: RunRow | undefined): boolean {
  return row?.state === 'completed' && row.state_reason.includes(UNSAID);
}

export function signOf(row: RunRow): Sign {
  return outcomeUnknown(row) ? ENDED : STATES[row.state];
}

export const LIGHTS: Record<LiveStatus['health_lights']['loss'], Sign> = {
  ok: { icon: 'good', tone: 'good' },
  warning: { icon: 'warning', tone: 'warn' },
  critical: { icon: 'critical', tone: 'bad' },
  unknown: { icon: 'unknown', tone: 'calm' },
};

export const LEVELS: Record<AlertRow['level'], Sign> = {
  info: { icon: 'info', tone: 'calm' },
  warning: { icon: 'warning', tone: 'warn' },
  critical: { icon: 'critical', tone: 'bad' },
};

export const VERDICTS: Record<Verdict['verdict'], Sign> = {
  FAIL: { icon: 'crashed', tone: 'bad' },
  ERROR: { icon: 'critical', tone: 'bad' },
  WARN: { icon: 'warning', tone: 'warn' },
  SKIP: { icon: 'skip', tone: 'calm' },
  PASS: { icon: 'good', tone: 'good' },
};

/** What needs a look first stands first. */
export const VERDICT_ORDER: readonly Verdict['verdict'][] = ['FAIL', 'ERROR', 'WARN', 'SKIP', 'PASS'];

export const HEALTH: Record<NonNullable<CheckpointWeights['health']>, Sign> = {
  healthy: { icon: 'good', tone: 'good' },
  warning: { icon: 'warning', tone: 'warn' },
  critical: { icon: 'critical', tone: 'bad' },
};

export const DRIFT_TONES: Record<DriftColour, Tone> = { green: 'good', yellow: 'warn', red: 'bad' };

export const STANDING_SIGNS: Record<Standing, Sign> = {
  compared: { icon: 'good', tone: 'good' },
  alone: { icon: 'skip', tone: 'calm' },
  planned: { icon: 'idle', tone: 'calm' },
  running: { icon: 'training', tone: 'lit' },
  interrupted: { icon: 'warning', tone: 'warn' },
  failed: { icon: 'crashed', tone: 'bad' },
  not_analysed: { icon: 'unknown', tone: 'calm' },
};

export const ALERT_STATES: Record<AlertRow['state'], Sign & { word: string }> = {
  pending: { icon: 'idle', tone: 'calm', word: 'pending' },
  firing: { icon: 'live', tone: 'warn', word: 'firing' },
  recovering: { icon: 'down', tone: 'lit', word: 'recovering' },
  resolved: { icon: 'good', tone: 'good', word: 'resolved' },
  ended: { icon: 'ended', tone: 'calm', word: 'open at the end' },
};

/** One of the user's own is not over by itself: somebody has to have seen it. What an older attempt left open is said to be that. */
export function signOfAlert(alert: Pick<AlertRow, 'state' | 'category' | 'acknowledged' | 'attempt'>, newest: number | null): Sign & { word: string } {
  const { state, category, acknowledged, attempt } = alert;
  const own = category === 'user';
  if (isLeftBehind(alert, newest)) return { ...ENDED, word: own ? `not acknowledged in attempt ${attempt}` : `open when attempt ${attempt} ended` };
  if (!own) return ALERT_STATES[state];
  return acknowledged === null ? { icon: 'live', tone: 'warn', word: 'not acknowledged' } : { icon: 'good', tone: 'good', word: 'acknowledged' };
}

export const CONDITION_STATES: Record<ConditionRow['state'], Sign & { word: string }> = {
  ok: { icon: 'good', tone: 'good', word: 'quiet' },
  pending: { icon: 'idle', tone: 'calm', word: 'pending' },
  firing: { icon: 'live', tone: 'warn', word: 'firing' },
  recovering: { icon: 'down', tone: 'lit', word: 'recovering' },
  no_data: { icon: 'unknown', tone: 'calm', word: 'no data' },
  error: { icon: 'critical', tone: 'bad', word: 'error' },
};

export const ACTION_SIGNS: Record<AdviceItem['action'], Sign> = {
  continue: { icon: 'good', tone: 'good' },
  stop: { icon: 'ended', tone: 'warn' },
  lower_learning_rate: { icon: 'down', tone: 'warn' },
  inspect_layers: { icon: 'search', tone: 'lit' },
  use_checkpoint: { icon: 'completed', tone: 'lit' },
};

export const LAYER_SIGNS: Record<LayerStatus, Sign> = {
  active: { icon: 'good', tone: 'good' },
  dead: { icon: 'crashed', tone: 'bad' },
  vanishing: { icon: 'warning', tone: 'warn' },
  exploding: { icon: 'critical', tone: 'bad' },
  non_finite: { icon: 'critical', tone: 'bad' },
  starting: { icon: 'idle', tone: 'calm' },
  unknown: { icon: 'unknown', tone: 'calm' },
};

/** Which way a quantity goes, and whether that is good; the arrow never stands without its word. */
export const TRENDS: Record<NonNullable<LiveStatus['loss_trend']>, { loss: Sign; speed: Sign; pace: string }> = {
  improving: { loss: { icon: 'down', tone: 'good' }, speed: { icon: 'up', tone: 'good' }, pace: 'faster' },
  stable: { loss: { icon: 'level', tone: 'calm' }, speed: { icon: 'level', tone: 'calm' }, pace: 'steady' },
  degrading: { loss: { icon: 'up', tone: 'bad' }, speed: { icon: 'down', tone: 'bad' }, pace: 'slower' },
  unknown: { loss: { icon: 'unknown', tone: 'calm' }, speed: { icon: 'unknown', tone: 'calm' }, pace: 'not known' },
};
