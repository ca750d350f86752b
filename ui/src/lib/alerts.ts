import type { ActiveAlert } from './documents';

/** What an alert is called in the address: where it was raised, and when. */
export function alertKey({ step, time }: ActiveAlert): string {
  return `${step ?? ''}@${time}`;
}
