/** What a chart draws over its lines: values that no line can show, starts of attempts, alerts, the pen. */
import uPlot from 'uplot';
import type { Mark, Start } from '../lib/curve';
import { alertKey, apart, type Band } from '../lib/alerts';
import type { AlertRow } from '../lib/documents';
import { count } from '../lib/format';
import { faded, type Inks } from './ink';

/** Something with its place on the x-axis. */
export type Placed<T> = T & { x: number };

const CROWDED = 10; // CSS pixels: closer marks of one kind are drawn once, the legend has the number
const SIZE = 6;

function crisp(value: number): number {
  return Math.round(value * uPlot.pxRatio);
}

function inside(plot: uPlot, value: number): number | null {
  const { min, max } = plot.scales['x'] ?? {};
  if (min == null || max == null || value < min || value > max) return null;
  return plot.valToPos(value, 'x', true);
}

/** At the last finite value before: a solid triangle for NaN, a hollow one that points out for an infinity, else a square. */
export function drawNonFinite(plot: uPlot, ink: Inks, marks: Placed<Mark>[]): void {
  const { ctx, bbox } = plot;
  const size = crisp(SIZE);
  const last = { nan: -Infinity, up: -Infinity, down: -Infinity, some: -Infinity };
  ctx.save();
  ctx.setLineDash([]);
  ctx.lineWidth = crisp(1.5);
  for (const { x: place, kind, after } of marks) {
    const x = inside(plot, place);
    if (x === null) continue;
    if (x - last[kind] < crisp(CROWDED)) continue;
    last[kind] = x;
    const foot = bbox.top + bbox.height;
    const level = after === null ? foot : plot.valToPos(after, 'y', true);
    const aside = kind === 'up' ? -2 * size : kind === 'down' ? 2 * size : 0; // so that one does not cover the other
    const y = Math.min(foot - size, Math.max(bbox.top + size, (Number.isFinite(level) ? level : foot) + aside));
    const tip = kind === 'down' ? size : -size;
    const solid = kind === 'nan' || kind === 'some';
    ctx.beginPath();
    if (kind === 'some') ctx.rect(x - size * 0.75, y - size * 0.75, size * 1.5, size * 1.5);
    else {
      ctx.moveTo(x, y + tip);
      ctx.lineTo(x + size, y - tip * 0.75);
      ctx.lineTo(x - size, y - tip * 0.75);
      ctx.closePath();
    }
    ctx.fillStyle = solid ? ink.mark : ink.card;
    ctx.strokeStyle = solid ? ink.card : ink.mark;
    ctx.fill();
    ctx.stroke();
  }
  ctx.restore();
}

/** Small open circles at the foot of a logarithmic chart, where a value is zero or less. */
export function drawNotPositive(plot: uPlot, ink: Inks, places: number[]): void {
  const { ctx, bbox } = plot;
  let last = -Infinity;
  ctx.save();
  ctx.setLineDash([]);
  ctx.strokeStyle = ink.mark;
  ctx.lineWidth = crisp(1.5);
  for (const place of places) {
    const x = inside(plot, place);
    if (x === null || x - last < crisp(CROWDED)) continue;
    last = x;
    ctx.beginPath();
    ctx.arc(x, bbox.top + bbox.height - crisp(4), crisp(3), 0, 2 * Math.PI);
    ctx.stroke();
  }
  ctx.restore();
}

/** A dashed line where an attempt starts, with its number and how far it went back; the newest is labelled first; a small chart has no room for words. */
export function drawStarts(plot: uPlot, ink: Inks, starts: Placed<Start>[], named: boolean): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.font = `${crisp(11)}px system-ui, sans-serif`;
  ctx.textBaseline = 'top';
  ctx.textAlign = 'left';
  const taken: { left: number; right: number }[] = [];
  for (const start of starts.toReversed()) {
    const x = inside(plot, start.x);
    if (x === null) continue;
    ctx.strokeStyle = ink.rewind;
    ctx.lineWidth = crisp(1);
    ctx.setLineDash([crisp(4), crisp(3)]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    if (!named) continue;
    const brief = `attempt ${start.attempt}`;
    const texts = start.rewoundFrom === null ? [brief] : [`${brief}, back from ${count(start.rewoundFrom)}`, brief];
    for (const text of texts) {
      const wide = ctx.measureText(text).width;
      const right = x + crisp(5);
      const left = right + wide <= bbox.left + bbox.width ? right : x - wide - crisp(5);
      if (left < bbox.left) continue; // it would lie over the axis
      if (taken.some((other) => left < other.right + crisp(8) && left + wide + crisp(8) > other.left)) continue;
      taken.push({ left, right: left + wide });
      ctx.fillStyle = ink.rewind;
      ctx.fillText(text, left, bbox.top + crisp(6));
      break;
    }
  }
  ctx.restore();
}

/** Lines of alerts from which on they would hide the curve: then they are fainter. */
const MANY = 12;

/** A diamond on the upper edge and a thin line below it for each alert, by its level; a band behind the one pointed out. */
export function drawAlerts(plot: uPlot, ink: Inks, alerts: Placed<AlertRow>[], pointedOut: string | null): void {
  const { ctx, bbox } = plot;
  const size = crisp(4.5);
  const seen = alerts.flatMap((alert) => {
    const x = inside(plot, alert.x);
    return x === null ? [] : [{ ...alert, x }];
  });
  const drawn = apart(seen, crisp(CROWDED), (alert) => alertKey(alert) === pointedOut);
  const share = drawn.length > MANY ? 0.16 : 0.45;
  ctx.save();
  for (const alert of drawn) {
    const { x } = alert;
    const colour = alert.level === 'critical' ? ink.mark : alert.level === 'warning' ? ink.warn : ink.quiet;
    const lit = alertKey(alert) === pointedOut;
    if (lit) {
      ctx.fillStyle = faded(colour, 0.16);
      ctx.fillRect(x - crisp(9), bbox.top, crisp(18), bbox.height);
    }
    ctx.fillStyle = faded(colour, lit ? 0.45 : share);
    ctx.fillRect(Math.round(x - crisp(0.5)), bbox.top, crisp(1), bbox.height);
    ctx.fillStyle = colour;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top - size);
    ctx.lineTo(x + size, bbox.top);
    ctx.lineTo(x, bbox.top + size);
    ctx.lineTo(x - size, bbox.top);
    ctx.closePath();
    ctx.fill();
  }
  ctx.restore();
}

const SHARES: Record<Band['level'], number> = { info: 0.05, warning: 0.09, critical: 0.12 };
/** Share of the window from which on a stretch is no moment any more. */
const LONG = 0.25;

/** A faint stretch behind the lines over which an alert was firing, with a stronger edge along the top; of what lasts the edge alone. */
export function drawBands(plot: uPlot, ink: Inks, bands: Band[]): void {
  const { ctx, bbox } = plot;
  const { min, max } = plot.scales['x'] ?? {};
  if (min == null || max == null) return;
  ctx.save();
  for (const { level, from, to, lasting } of bands) {
    if (to < min || from > max) continue;
    const left = plot.valToPos(Math.max(from, min), 'x', true);
    const wide = Math.max(crisp(2), plot.valToPos(Math.min(to, max), 'x', true) - left);
    const colour = level === 'critical' ? ink.mark : level === 'warning' ? ink.warn : ink.quiet;
    if (!lasting && to - from <= LONG * (max - min)) {
      ctx.fillStyle = faded(colour, SHARES[level]);
      ctx.fillRect(left, bbox.top, wide, bbox.height);
    }
    ctx.fillStyle = faded(colour, 0.6);
    ctx.fillRect(left, bbox.top, wide, crisp(2));
  }
  ctx.restore();
}

/** A target at the foot and a dotted line above it for each step that a verdict rests on. */
export function drawEvidence(plot: uPlot, ink: Inks, places: number[]): void {
  const { ctx, bbox } = plot;
  const foot = bbox.top + bbox.height - crisp(7);
  let last = -Infinity;
  ctx.save();
  for (const place of places) {
    const x = inside(plot, place);
    if (x === null || x - last < crisp(CROWDED)) continue;
    last = x;
    ctx.strokeStyle = faded(ink.ink, 0.45);
    ctx.lineWidth = crisp(1);
    ctx.setLineDash([crisp(1), crisp(3)]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, foot - crisp(5));
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.strokeStyle = ink.ink;
    ctx.fillStyle = ink.card;
    ctx.lineWidth = crisp(1.5);
    ctx.beginPath();
    ctx.arc(x, foot, crisp(4.5), 0, 2 * Math.PI);
    ctx.fill();
    ctx.stroke();
    ctx.fillStyle = ink.ink;
    ctx.beginPath();
    ctx.arc(x, foot, crisp(1.25), 0, 2 * Math.PI);
    ctx.fill();
  }
  ctx.restore();
}

/** The pinned cursor: a line through the whole height. */
export function drawPin(plot: uPlot, ink: Inks, place: number): void {
  const x = inside(plot, place);
  if (x === null) return;
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.fillStyle = ink.accent;
  ctx.fillRect(Math.round(x - crisp(0.75)), bbox.top, crisp(1.5), bbox.height);
  ctx.restore();
}

/** The pen that draws: a dot at the newest point of the smoothed line. */
export function drawPen(plot: uPlot, ink: Inks, place: number, value: number, colour = ink.accent): void {
  const x = inside(plot, place);
  const y = plot.valToPos(value, 'y', true);
  if (x === null || !Number.isFinite(y)) return;
  const { ctx } = plot;
  ctx.save();
  ctx.setLineDash([]); // a dashed line may have been the last
  ctx.beginPath();
  ctx.arc(x, y, crisp(4.5), 0, 2 * Math.PI);
  ctx.fillStyle = colour;
  ctx.strokeStyle = ink.card;
  ctx.lineWidth = crisp(2);
  ctx.fill();
  ctx.stroke();
  ctx.restore();
}
