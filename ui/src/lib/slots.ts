/** A run's place among the eight looks of a line. */

export const SLOTS = 8;
export type Slots = ReadonlyMap<string, number>;

/** Each run's slot: the one that it had, else the one that its name gives, else the next that is free. */
export function slots(runs: readonly string[], before: Slots): Slots {
  const found = new Map<string, number>();
  const taken = new Set<number>();
  const give = (run: string, slot: number) => {
    found.set(run, slot);
    taken.add(slot);
  };
  for (const run of runs) {
    const slot = before.get(run);
    if (slot !== undefined && !taken.has(slot)) give(run, slot);
  }
  for (const run of runs) {
    if (found.has(run)) continue;
    const wanted = hash(run) % SLOTS;
    const free = Array.from({ length: SLOTS }, (_, at) => (wanted + at) % SLOTS).find((slot) => !taken.has(slot));
    give(run, free ?? wanted);
  }
  return found;
}

const given = new Map<string, number>();

/** The slots of the runs that are drawn; one that was given in this tab stays given. */
export function slotsHere(runs: readonly string[]): Slots {
  const found = slots(runs, given);
  for (const [run, slot] of found) given.set(run, slot);
  return found;
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let sum = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) sum = Math.imul(sum ^ text.charCodeAt(at), 0x01000193) >>> 0;
  return sum;
}
