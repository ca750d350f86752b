/** The icon and the tone that belong to each word of a document. */
import type { Standing } from '../lib/checkpoints';
import type { ActiveAlert, CheckpointWeights, DriftColour, LiveStatus, RunRow, RunState, Verdict } from '../lib/documents';
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

export const LEVELS: Record<ActiveAlert['level'], Sign> = {
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
