/** Numbers, times and sizes as people read them. Nothing here turns a missing value into a number. */
import type { Num } from './documents';

const steps = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const absolute = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'long' });
const SPELLED: Record<string, number> = { NaN: Number.NaN, Infinity: Infinity, '-Infinity': -Infinity };

export const MISSING = '—';

/** A number of a document of ours as a JavaScript number: "NaN" is NaN. */
export function numeric(value: Num): number {
  return typeof value === 'number' ? value : (SPELLED[value] ?? Number.NaN);
}

/** Four significant digits; exponents below 0.001 and from 1e6 on; NaN and ±∞ as such. */
export function short(value: Num): string {
  const number = numeric(value);
  if (Number.isNaN(number)) return 'NaN';
  if (!Number.isFinite(number)) return number > 0 ? '+∞' : '−∞';
  const size = Math.abs(number);
  if (size === 0) return '0';
  if (size < 0.001 || size >= 1e6) return number.toExponential(2).replace('e+', 'e').replace('-', '−').replace('e-', 'e−');
  const digits = Math.max(0, 3 - Math.floor(Math.log10(size)));
  const [whole = '', fraction] = size.toFixed(digits).split('.');
  return (number < 0 ? '−' : '') + steps.format(Number(whole)) + (fraction === undefined ? '' : `.${fraction}`);
}

/** A value on an axis: as few digits as tell it from its neighbours. */
export function tick(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return String(Number(value.toPrecision(3)).toExponential()).replace('e+', 'e');
  return String(Number(value.toPrecision(6)));
}

/** A count or a step. Beyond 2^53 a browser has only about 16 of its digits, so no more than 6 are claimed. */
export function count(value: number): string {
  if (Math.abs(value) > Number.MAX_SAFE_INTEGER) return `≈ ${value.toExponential(5).replace('e+', 'e')}`;
  return steps.format(value);
}

/** `1 line`, `2 lines`. */
export function counted(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? '' : 's'}`;
}

export function percent(ratio: number, digits = 0): string {
  return `${(ratio * 100).toFixed(digits)} %`;
}

/** How much of a whole is done: never all of it before it is. */
export function progressed(share: number): string {
  const digits = share < 0.1 ? 1 : 0;
  const unit = 10 ** digits;
  const percents = Math.floor(share * 100 * unit + 1e-9) / unit; // 0.29 * 100 is a little less than 29
  return `${(share < 1 ? Math.min(99, percents) : percents).toFixed(digits)} %`;
}

/** Two units at most: `2 h 15 min`, `45 s`. */
export function duration(seconds: number): string {
  const total = Math.max(0, Math.round(seconds));
  const parts: [number, string][] = [
    [Math.floor(total / 86_400), 'd'],
    [Math.floor((total % 86_400) / 3600), 'h'],
    [Math.floor((total % 3600) / 60), 'min'],
    [total % 60, 's'],
  ];
  const first = parts.findIndex(([amount]) => amount > 0);
  if (first < 0) return '0 s';
  return parts
    .slice(first, first + 2)
    .filter(([amount], place) => place === 0 || amount > 0)
    .map(([amount, unit]) => `${amount} ${unit}`)
    .join(' ');
}

/** Elapsed seconds along an axis: each as exact as the distance between two of them, so that no two read alike. */
export function elapsedTicks(splits: readonly (number | null)[], increment: number): string[] {
  const greatest = Math.max(0, ...splits.map((each) => each ?? 0));
  const digits = increment >= 1 ? 0 : increment >= 0.1 ? 1 : 2;
  const two = (value: number) => String(value).padStart(2, '0');
  return splits.map((seconds) => {
    if (seconds === null) return '';
    if (greatest < 60) return `${seconds.toFixed(digits)} s`;
    const whole = Math.floor(seconds + 1e-6);
    const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
    const exact = (seconds % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, '0');
    if (digits || (greatest >= 3600 && increment < 60)) return `${hours}:${two(minutes)}:${exact}`;
    if (greatest >= 86_400 && increment < 3600) return `${Math.floor(hours / 24)} d ${two(hours % 24)}:${two(minutes)}`;
    return duration(seconds);
  });
}

/** Unix seconds along an axis, in the zone of the reader: `11:21:30`, with `20 Nov` below the first and where a day begins. */
export function clockTicks(splits: readonly (number | null)[], increment: number): string[] {
  const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
  const dated = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });
  const fraction = increment >= 1 ? {} : { fractionalSecondDigits: increment >= 0.1 ? (1 as const) : (3 as const) };
  const fine = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', ...(increment < 60 ? { second: '2-digit', ...fraction } : {}) });
  const year = new Date().getFullYear();
  let before = '';
  return splits.map((seconds) => {
    if (seconds === null) return '';
    const at = new Date(seconds * 1000);
    const date = (at.getFullYear() === year ? day : dated).format(at);
    if (increment >= 86_400) return date;
    const text = date === before ? fine.format(at) : `${fine.format(at)}\n${date}`;
    before = date;
    return text;
  });
}

/** The zone that times are said in, as `clockTime` names it: `UTC`, `CET`, `GMT-5`. */
export function zone(ms: number): string {
  return absolute.formatToParts(ms).find(({ type }) => type === 'timeZoneName')?.value ?? '';
}

/** A value that is not finite, spelled out; any other as it is short. */
export function spelled(value: Num): string {
  const number = numeric(value);
  return Number.isFinite(number) || Number.isNaN(number) ? short(number) : number > 0 ? '+Infinity' : '-Infinity';
}

/** What a reason says of a value that is there and no number: `NaN`, `+∞`; null where it is missing for any other reason. */
export function noNumber(reason: string | undefined): string | null {
  const found = /^it is (NaN|-?Infinity)$/.exec(reason ?? '')?.[1];
  return found === undefined ? null : short(found as Num);
}

/** How long ago, by one unit: `now`, `12 s ago`, `3 d ago`; the future (a skewed clock) is `now`. */
export function ago(seconds: number): string {
  if (seconds < 1.5) return 'now';
  if (seconds < 60) return `${Math.round(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

export function clockTime(ms: number): string {
  return absolute.format(ms);
}

/** Powers of 1000, as disks are sold. */
export function bytes(size: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let place = 0;
  while (size >= 1000 && place < units.length - 1) {
    size /= 1000;
    place += 1;
  }
  return `${place === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[place]}`;
}
