/** What the monitors in the training loop say of the open run: alerts and advice, layers, machines, throughput. */
import type { Alerts, Layers, SignalsNow, SystemStatus, ThroughputSamples } from './documents';
import { Followed } from './followed.svelte';

export const raised = new Followed<Alerts>('api/alerts', {
  of: ['alert', 'acknowledgement', 'notification', 'advice', 'batch', 'signals'],
  spacing: 1000,
  sure: 15_000, // a run that falls silent is an alert that no line tells of
});

/** The server reads the norms of every layer for it, so it is asked for less often. */
export const activity = new Followed<Layers>('api/layers', { of: ['points', 'collector'], spacing: 15_000, sure: 300_000 });

export const machines = new Followed<SystemStatus>('api/status/system', { of: ['hardware'], spacing: 2000, sure: 10_000 });

export const samples = new Followed<ThroughputSamples>('api/throughput/samples', { of: ['points', 'hardware', 'signals'], spacing: 10_000, sure: 300_000 });

export const streaming = new Followed<SignalsNow>('api/signals', { of: ['signals'], spacing: 1000, sure: 30_000 });

export const monitors = [raised, streaming, activity, machines, samples] as const;
