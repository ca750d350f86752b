import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Gpu, SystemHost } from './documents';
import { gigabytes, ofGpu, ofHost, sayGpu, sayShort, sayUsed } from './machine.ts';

const HOST: SystemHost = {
  name: 'forge', online: true, age_s: 1, measured: null, cpu_pct: 38.5, load: 6.14, process_cpu_pct: null, process_ram_gb: null, ram_gb: 28.3, ram_total_gb: 67.4,
  disk_used_gb: 1204, disk_total_gb: 1800, disk_free_gb: 596, disk_pct: 66.9, swap_used_gb: null, swap_total_gb: null, gpus: [],
};
const GPU: Gpu = {
  index: 0, name: 'A', temp_c: 83, temp_limit_c: 83, util_pct: 98, vram_used_gb: 20, vram_total_gb: 25, vram_pct: 80, power_w: 380.4, power_limit_w: 450, fan_pct: null,
};

function texts(found: { field: string; text: string | null }[]): Record<string, string | null> {
  return Object.fromEntries(found.map(({ field, text }) => [field, text]));
}

test('every number stands with its unit and its whole', () => {
  assert.deepEqual(texts(ofHost(HOST, () => 'r')), {
    cpu_pct: '39 %, load 6.1', ram_gb: '28.3 of 67.4 GB', swap_used_gb: null, disk_used_gb: '1,204 of 1,800 GB, 596 free',
  });
  assert.deepEqual(texts(ofGpu(GPU)), { util_pct: '98 %', vram_used_gb: '20.0 of 25.0 GB, 80 %', temp_c: '83 of 83 °C', power_w: '380 of 450 W', fan_pct: null });
});

test('what is not measured has no share and its reason, and is never zero', () => {
  const swap = ofHost(HOST, (field) => `why ${field}`).find(({ field }) => field === 'swap_used_gb');
  assert.deepEqual([swap?.text, swap?.share, swap?.reason], [null, null, 'why swap_used_gb']);
  const blind = ofGpu({ ...GPU, temp_c: null, temp_limit_c: null, util_pct: null, vram_used_gb: null, vram_total_gb: null, vram_pct: null, power_w: null, power_limit_w: null });
  assert.ok(blind.every(({ text, share, reason }) => text === null && share === null && reason));
});

test('a machine without swap says so', () => {
  assert.equal(ofHost({ ...HOST, swap_used_gb: 0, swap_total_gb: 0 }, () => undefined).find(({ field }) => field === 'swap_used_gb')?.text, 'none');
});

test('a temperature at its limit is said in words', () => {
  const notes = [70, 80, 83, 88, null].map((temp_c) => ofGpu({ ...GPU, temp_c }).find(({ field }) => field === 'temp_c')?.note);
  assert.deepEqual(notes, [null, 'near its limit', 'at its limit', 'above its limit', null]);
  assert.equal(sayShort({ ...GPU, vram_pct: 98, temp_c: 88 }), 'memory nearly full, temperature above its limit');
  assert.equal(sayShort({ ...GPU, temp_c: 60 }), '');
});

test('what is nearly full is said in words, and what is busy is not', () => {
  const notes = (more: Partial<SystemHost>) => Object.fromEntries(ofHost({ ...HOST, ...more }, () => undefined).map(({ field, note }) => [field, note ?? null]));
  assert.deepEqual(notes({ cpu_pct: 100, ram_gb: 66, disk_used_gb: 1800 }), { cpu_pct: null, ram_gb: 'nearly full', swap_used_gb: null, disk_used_gb: 'full' });
});

test('parts without a whole stay parts', () => {
  assert.equal(sayUsed(3, null), '3.0 GB');
  assert.equal(sayUsed(null, 8), null);
  assert.deepEqual([0.04, 99.94, 1204].map(gigabytes), ['0.0', '99.9', '1,204']);
  assert.equal(sayGpu(GPU), '98 %, 20.0 of 25.0 GB, 83 °C');
  assert.equal(sayGpu({ ...GPU, util_pct: null, vram_used_gb: null, temp_c: null }), 'says nothing');
});
