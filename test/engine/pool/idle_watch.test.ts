// A worker that has nothing to do uses no processor time; one that does so all the same is found.
import { describe, expect, test } from 'bun:test';
import { POOL_TUNING } from '../../../src/base/limits/pool.ts';
import { createIdleWatch } from '../../../src/engine/pool/idle_watch.ts';

const { idleCpuMs, idleWatchMs, idleWatchesBurned, sweepIntervalMs } = POOL_TUNING;

/** Sweeps for some seconds; `activeMs` and `cpuMs` are per second. The second in which it is found, or null. */
function watch(seconds: number, activeMs: number, cpuMs: number, everyMs = sweepIntervalMs): number | null {
  const idle = createIdleWatch();
  for (let nowMs = 0; nowMs <= seconds * 1_000; nowMs += everyMs) {
    const inSecond = (nowMs - 1) % 1_000;
    const isActive = inSecond < activeMs;
    if (idle.sweep(nowMs, isActive, () => (cpuMs * nowMs) / 1_000)) return nowMs / 1_000;
  }
  return null;
}

describe('A worker', () => {
  test.each([
    ['that waits', 0, 0],
    ['that works all the time', 1_000, 1_000],
    ['that works half the time', 500, 500],
    ['whose clocks differ by a little', 500, 500 + idleCpuMs / 2],
  ])('%s stays', (_, activeMs, cpuMs) => {
    expect(watch(60, activeMs, cpuMs)).toBeNull();
  });

  test.each([
    ['that spins', 0, 1_000],
    ['that spins a tenth of the time', 0, 100],
    ['that spins between requests', 200, 1_000],
  ])('%s is found', (_, activeMs, cpuMs) => {
    expect(watch(60, activeMs, cpuMs)).toBeLessThan(2 + idleWatchesBurned * 1.1);
  });

  test('that spins is found by the slow sweep too', () => {
    expect(watch(60, 0, 1_000, idleWatchMs)).toBeLessThan(2 + idleWatchesBurned);
  });

  test('whose clock cannot be read, or has begun anew, stays', () => {
    const idle = createIdleWatch();
    const readings = [null, 5_000, 0, null, 9_000, 20];
    for (let at = 0; at < 60; at += 1)
      expect(idle.sweep(at * idleWatchMs, false, () => readings[at % readings.length] ?? null)).toBe(false);
  });

  test('is asked for its time once per interval', () => {
    const idle = createIdleWatch();
    let asked = 0;
    for (let nowMs = 0; nowMs < 10 * idleWatchMs; nowMs += sweepIntervalMs)
      idle.sweep(nowMs, false, () => (asked += 1));
    expect(asked).toBe(9);
  });
});
