/** What a chart draws over its lines: values that no line can show, starts of attempts, alerts, the pen. */
import uPlot from 'uplot';
import type { Start } from '../lib/curve';
import type { ActiveAlert, NonFinitePoint } from '../lib/documents';
import { count, numeric } from '../lib/format';
import type { Inks } from './ink';

const CROWDED = 10; // CSS pixels: closer marks of one kind are drawn once, the legend has the number
const SIZE = 6;

function crisp(value: number): number {
  return Math.round(value * uPlot.pxRatio);
}

function inside(plot: uPlot, step: number): number | null {
  const { min, max } = plot.scales['x'] ?? {};
  if (min == null || max == null || step < min || step > max) return null;
  return plot.valToPos(step, 'x', true);
}

/** A triangle at the last finite value before: solid for NaN, hollow and pointing out for the infinities. */
export function drawNonFinite(plot: uPlot, ink: Inks, points: NonFinitePoint[]): void {
  const { ctx, bbox } = plot;
  const size = crisp(SIZE);
  const last = { nan: -Infinity, up: -Infinity, down: -Infinity };
  ctx.save();
  ctx.lineWidth = crisp(1.5);
  for (const point of points) {
    const x = inside(plot, point.step);
    if (x === null) continue;
    const value = numeric(point.value);
    const kind = Number.isNaN(value) ? 'nan' : value > 0 ? 'up' : 'down';
    if (x - last[kind] < crisp(CROWDED)) continue;
    last[kind] = x;
    const foot = bbox.top + bbox.height;
    const level = point.after === null ? foot : plot.valToPos(point.after, 'y', true);
    const aside = kind === 'nan' ? 0 : kind === 'up' ? -2 * size : 2 * size; // so that one does not cover the other
    const y = Math.min(foot - size, Math.max(bbox.top + size, (Number.isFinite(level) ? level : foot) + aside));
    const tip = kind === 'down' ? size : -size;
    ctx.beginPath();
    ctx.moveTo(x, y + tip);
    ctx.lineTo(x + size, y - tip * 0.75);
    ctx.lineTo(x - size, y - tip * 0.75);
    ctx.closePath();
    ctx.fillStyle = kind === 'nan' ? ink.mark : ink.card;
    ctx.strokeStyle = kind === 'nan' ? ink.card : ink.mark;
    ctx.fill();
    ctx.stroke();
  }
  ctx.restore();
}

/** Small open circles at the foot of a logarithmic chart, where a value is zero or less. */
export function drawNotPositive(plot: uPlot, ink: Inks, steps: number[]): void {
  const { ctx, bbox } = plot;
  let last = -Infinity;
  ctx.save();
  ctx.strokeStyle = ink.mark;
  ctx.lineWidth = crisp(1.5);
  for (const step of steps) {
    const x = inside(plot, step);
    if (x === null || x - last < crisp(CROWDED)) continue;
    last = x;
    ctx.beginPath();
    ctx.arc(x, bbox.top + bbox.height - crisp(4), crisp(3), 0, 2 * Math.PI);
    ctx.stroke();
  }
  ctx.restore();
}

/** A dashed line where an attempt starts, with its number and how far it went back. */
export function drawStarts(plot: uPlot, ink: Inks, starts: Start[]): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.font = `${crisp(11)}px system-ui, sans-serif`;
  ctx.textBaseline = 'top';
  ctx.textAlign = 'left';
  let free = -Infinity;
  for (const start of starts) {
    const x = inside(plot, start.step);
    if (x === null) continue;
    ctx.strokeStyle = ink.rewind;
    ctx.lineWidth = crisp(1);
    ctx.setLineDash([crisp(4), crisp(3)]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    const brief = `attempt ${start.attempt}`;
    const texts = start.rewoundFrom === null ? [brief] : [`${brief}, back from ${count(start.rewoundFrom)}`, brief];
    for (const text of texts) {
      const wide = ctx.measureText(text).width;
      const right = x + crisp(5);
      const left = right + wide <= bbox.left + bbox.width ? right : x - wide - crisp(5);
      if (left < Math.max(free, bbox.left)) continue; // it would lie over another label, or over the axis
      free = left + wide + crisp(8);
      ctx.fillStyle = ink.rewind;
      ctx.fillText(text, left, bbox.top + crisp(6));
      break;
    }
  }
  ctx.restore();
}

/** A diamond on the upper edge for each alert, by its level. */
export function drawAlerts(plot: uPlot, ink: Inks, alerts: ActiveAlert[]): void {
  const { ctx, bbox } = plot;
  const size = crisp(4.5);
  ctx.save();
  for (const alert of alerts) {
    const x = alert.step === null ? null : inside(plot, alert.step);
    if (x === null) continue;
    ctx.fillStyle = alert.level === 'critical' ? ink.mark : alert.level === 'warning' ? ink.warn : ink.quiet;
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

/** The pen that draws: a dot at the newest point of the smoothed line. */
export function drawPen(plot: uPlot, ink: Inks, step: number, value: number): void {
  const x = inside(plot, step);
  const y = plot.valToPos(value, 'y', true);
  if (x === null || !Number.isFinite(y)) return;
  const { ctx } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.arc(x, y, crisp(4.5), 0, 2 * Math.PI);
  ctx.fillStyle = ink.accent;
  ctx.strokeStyle = ink.card;
  ctx.lineWidth = crisp(2);
  ctx.fill();
  ctx.stroke();
  ctx.restore();
}
