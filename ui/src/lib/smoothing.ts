/** The ladder of moving averages that the server keeps: each weight of the past averages about 1 / (1 - weight) points. */

export const LADDER = [0, 0.6, 0.9, 0.97, 0.99, 0.999] as const;
export type Smoothing = (typeof LADDER)[number];
export const DEFAULT_SMOOTHING: Smoothing = 0.9;

/** The rung nearest to a weight that somebody asked for; the default for what is no weight. */
export function rung(weight: number): Smoothing {
  if (!(weight >= 0 && weight < 1)) return DEFAULT_SMOOTHING;
  const off = (each: number) => Math.abs(Math.log(points(each) / points(weight)));
  return LADDER.reduce((best, each) => (off(each) < off(best) ? each : best));
}

/** About how many points an average reaches over. */
export function points(weight: number): number {
  return 1 / (1 - weight);
}

export function sayPoints(weight: Smoothing): string {
  const window = points(weight);
  return weight === 0 ? 'off' : `${window < 10 ? window.toFixed(1) : Math.round(window)} points`;
}
