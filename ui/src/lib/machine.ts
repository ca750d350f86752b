/** What a machine says of itself, as the page shows it: each quantity with its numbers, its share, and why it is missing. */
import type { Gpu, SystemHost } from './documents';
import { count } from './format.ts';

export interface Quantity {
  field: string;
  label: string;
  text: string | null;
  /** Of its whole; null where there is none. */
  share: number | null;
  reason?: string | undefined;
  /** Whether it is bad that it is nearly full. */
  scarce?: boolean;
  note?: string | null;
}

/** 1e9 bytes as people read them: `28.3`, `1,204`. */
export function gigabytes(value: number): string {
  return value >= 100 ? count(value) : value.toFixed(1);
}

/** `28.3 of 67.4 GB`; what is used alone where the whole is not known, and null where neither is. */
export function sayUsed(used: number | null, total: number | null): string | null {
  if (used === null) return null;
  return total === null ? `${gigabytes(used)} GB` : `${gigabytes(used)} of ${gigabytes(total)} GB`;
}

function share(part: number | null, whole: number | null): number | null {
  return part === null || whole === null || !(whole > 0) ? null : part / whole;
}

function percents(value: number | null): string | null {
  return value === null ? null : `${value >= 10 || value === 0 ? Math.round(value) : value.toFixed(1)} %`;
}

/** The machine itself; `why` has the reasons by field. */
export function ofHost(host: SystemHost, why: (field: string) => string | undefined): Quantity[] {
  const load = host.load === null ? '' : `, load ${host.load.toFixed(1)}`;
  const cpu = percents(host.cpu_pct);
  const noSwap = host.swap_total_gb === 0;
  const found: Quantity[] = [
    { field: 'cpu_pct', label: 'CPU', text: cpu === null ? null : `${cpu}${load}`, share: host.cpu_pct === null ? null : host.cpu_pct / 100 },
    { field: 'ram_gb', label: 'RAM', text: sayUsed(host.ram_gb, host.ram_total_gb), share: share(host.ram_gb, host.ram_total_gb), scarce: true },
    { field: 'swap_used_gb', label: 'Swap', text: noSwap ? 'none' : sayUsed(host.swap_used_gb, host.swap_total_gb), share: share(host.swap_used_gb, host.swap_total_gb), scarce: true },
    {
      field: 'disk_used_gb', label: 'Disk of the run',
      text: host.disk_used_gb === null ? null : `${sayUsed(host.disk_used_gb, host.disk_total_gb)}${host.disk_free_gb === null ? '' : `, ${gigabytes(host.disk_free_gb)} free`}`,
      share: share(host.disk_used_gb, host.disk_total_gb),
      scarce: true,
    },
  ];
  if (host.process_cpu_pct !== null || host.process_ram_gb !== null) {
    const parts = [host.process_cpu_pct === null ? '' : `${count(host.process_cpu_pct)} % of a core`, host.process_ram_gb === null ? '' : `${gigabytes(host.process_ram_gb)} GB`];
    found.push({ field: 'process_ram_gb', label: 'This process', text: parts.filter(Boolean).join(', '), share: null });
  }
  return found.map((each) => noted({ ...each, reason: why(each.field) }));
}

/** Share of a whole from which on there is nearly none left. */
const SCARCE = 0.95;

/** With a word where little is left: a bar alone would say it by its look only. */
function noted(quantity: Quantity): Quantity {
  const { share: of, scarce, note } = quantity;
  return note || !scarce || of === null || of < SCARCE ? quantity : { ...quantity, note: of >= 1 ? 'full' : 'nearly full' };
}

/** What a GPU says; the driver tells why it does not only for all of them together. */
export function ofGpu(gpu: Gpu): Quantity[] {
  const reason = 'its driver does not say it';
  const heat = share(gpu.temp_c, gpu.temp_limit_c);
  const limited = (value: number | null, limit: number | null, unit: string) => (value === null ? null : limit === null ? `${Math.round(value)} ${unit}` : `${Math.round(value)} of ${Math.round(limit)} ${unit}`);
  const vram = sayUsed(gpu.vram_used_gb, gpu.vram_total_gb);
  const full = gpu.vram_pct ?? (share(gpu.vram_used_gb, gpu.vram_total_gb) ?? NaN) * 100;
  return [
    { field: 'util_pct', label: 'Utilisation', text: percents(gpu.util_pct), share: gpu.util_pct === null ? null : gpu.util_pct / 100, reason },
    { field: 'vram_used_gb', label: 'Memory', text: vram === null ? null : Number.isFinite(full) ? `${vram}, ${percents(full)}` : vram, share: Number.isFinite(full) ? full / 100 : null, scarce: true, reason },
    { field: 'temp_c', label: 'Temperature', text: limited(gpu.temp_c, gpu.temp_limit_c, '°C'), share: heat, scarce: true, note: heat === null || heat < SCARCE ? null : heat > 1 ? 'above its limit' : heat === 1 ? 'at its limit' : 'near its limit', reason },
    { field: 'power_w', label: 'Power', text: limited(gpu.power_w, gpu.power_limit_w, 'W'), share: share(gpu.power_w, gpu.power_limit_w), reason },
    { field: 'fan_pct', label: 'Fan', text: percents(gpu.fan_pct), share: gpu.fan_pct === null ? null : gpu.fan_pct / 100, reason },
  ].map(noted);
}

/** What is short of a GPU, in words: `memory nearly full`, `temperature above its limit`. */
export function sayShort(gpu: Gpu): string {
  return ofGpu(gpu).flatMap(({ label, note }) => (note ? `${label.toLowerCase()} ${note}` : [])).join(', ');
}

/** One GPU in a line, for machines with many. */
export function sayGpu(gpu: Gpu): string {
  return [percents(gpu.util_pct), sayUsed(gpu.vram_used_gb, gpu.vram_total_gb), gpu.temp_c === null ? null : `${Math.round(gpu.temp_c)} °C`].filter((each) => each !== null).join(', ') || 'says nothing';
}
