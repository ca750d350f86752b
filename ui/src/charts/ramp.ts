/** The colours of the heatmap between its stops, and whether text on one of them has to be light. */

export interface Shade {
  fill: string;
  /** Whether it is dark, so that white is read on it. */
  dark: boolean;
}

const RUNGS = 64;

/** A share from 0 to 1 as a colour; the stops are `rgb(…)` as the browser resolves them. */
export function palette(stops: readonly string[]): (share: number) => Shade {
  const known = stops.map((stop) => (stop.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number));
  const shades = Array.from({ length: RUNGS + 1 }, (_, rung): Shade => {
    const place = (rung / RUNGS) * (known.length - 1);
    const from = known[Math.floor(place)] ?? [];
    const to = known[Math.ceil(place)] ?? [];
    const mixed = [0, 1, 2].map((channel) => Math.round((from[channel] ?? 0) + ((to[channel] ?? 0) - (from[channel] ?? 0)) * (place % 1)));
    return { fill: `rgb(${mixed.join(' ')})`, dark: luminance(mixed) < 0.179 };
  });
  return (share) => shades[Math.round(Math.min(1, Math.max(0, share)) * RUNGS)] as Shade;
}

/** Relative luminance as WCAG 2.2 defines it, of channels from 0 to 255. */
export function luminance(channels: readonly number[]): number {
  const [red = 0, green = 0, blue = 0] = channels.map((channel) => {
    const value = channel / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
