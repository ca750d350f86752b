/** What the bars of a card are made of: one per layer, the rest last and a little apart. */
import { REST } from '../lib/checkpoints.ts';

export interface Bar {
  layer: number;
  /** Null is no number: it is marked, and never drawn as zero. */
  value: number | null;
  tone: 'good' | 'warn' | 'bad' | 'plain';
  /** The sign over a bar that wants a look, besides its colour and its hatching. */
  mark: 'warning' | 'critical' | null;
  /** What it says, in words. */
  said: string;
}

export interface Slot {
  /** Left edge of the bar, its width, and the middle of the room that belongs to it. */
  x: number;
  wide: number;
  middle: number;
}

/** How much room, in bars, is left before the rest. */
const APART = 0.7;

/** Where each bar stands in a width. */
export function slots(bars: readonly Bar[], width: number): Slot[] {
  const apart = bars.length > 1 && bars.at(-1)?.layer === REST ? APART : 0;
  const room = bars.length ? Math.min(96, width / (bars.length + apart)) : 0;
  const gap = room >= 14 ? Math.max(3, room * 0.14) : room >= 6 ? 1.5 : room >= 3 ? 0.5 : 0;
  return bars.map((bar, place) => {
    const left = room * (place + (bar.layer === REST && bars.length > 1 ? apart : 0));
    return { x: left + gap / 2, wide: Math.max(0.5, room - gap), middle: left + room / 2 };
  });
}

/** The place of the bar that is nearest to an x. */
export function nearestBar(found: readonly Slot[], x: number): number {
  let best = 0;
  for (const [place, slot] of found.entries()) if (Math.abs(slot.middle - x) < Math.abs((found[best]?.middle ?? 0) - x)) best = place;
  return best;
}
