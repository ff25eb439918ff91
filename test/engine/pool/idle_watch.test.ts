// A worker that has nothing to do uses no processor time; one that does so all the same is found.
import { describe, expect, test } from 'bun:test';
import { POOL_TUNING } from '../../../src/base/limits/pool.ts';
import { createIdleWatch, type WorkerReadings } from '../../../src/engine/pool/idle_watch.ts';

const { idleCpuMs, idleWatchMs, idleWatchesBurned, sweepIdleMs, sweepIntervalMs } = POOL_TUNING;

const reading = (cpuMs: number | null, hoards = false): WorkerReadings => ({
  cpuMs: () => cpuMs,
  hoards: () => hoards,
});

type Behaviour = { activeMs: number; activeShare: number; idleShare: number };

/**
 * Sweeps a worker that is active at the start of each second and uses a share of a processor then and while
 * idle. The time at which it is found, or null.
 */
function watch(
  seconds: number,
  { activeMs, activeShare, idleShare }: Behaviour,
  everyMs: number,
): number | null {
  const idle = createIdleWatch();
  let cpuMs = 0;
  for (let nowMs = 0; nowMs <= seconds * 1_000; nowMs += everyMs) {
    const isActive = nowMs % 1_000 < activeMs;
    cpuMs += everyMs * (isActive ? activeShare : idleShare);
    if (idle.sweep(nowMs, isActive, reading(cpuMs)) === 'burning') return nowMs;
  }
  return null;
}

const WAITS: Behaviour = { activeMs: 0, activeShare: 0, idleShare: 0 };

describe('A worker', () => {
  test.each([
    ['that waits', WAITS],
    ['that works all the time', { activeMs: 1_000, activeShare: 1, idleShare: 0 }],
    ['that works half the time', { activeMs: 500, activeShare: 1, idleShare: 0 }],
    ['whose clocks differ by a little', { ...WAITS, idleShare: idleCpuMs / idleWatchMs / 2 }],
  ])('%s stays', (_, behaviour) => {
    expect(watch(60, behaviour, sweepIntervalMs)).toBeNull();
  });

  test.each([
    ['that spins', { ...WAITS, idleShare: 1 }],
    ['that spins a fifth of the time', { ...WAITS, idleShare: 0.2 }],
    ['that spins between requests', { activeMs: 300, activeShare: 1, idleShare: 1 }],
  ])('%s is found', (_, behaviour) => {
    expect(watch(60, behaviour, sweepIntervalMs)).toBeLessThan(300 + (2 + idleWatchesBurned) * idleWatchMs);
  });

  test('that spins is found by the slow sweep too', () => {
    expect(watch(60, { ...WAITS, idleShare: 1 }, sweepIdleMs)).toBeLessThan(
      (2 + idleWatchesBurned) * sweepIdleMs,
    );
  });

  test('whose clock cannot be read, or has begun anew, stays', () => {
    const idle = createIdleWatch();
    const readings = [null, 5_000, 0, null, 9_000, 20];
    for (let at = 0; at < 60; at += 1)
      expect(idle.sweep(at * idleWatchMs, false, reading(readings[at % readings.length] ?? null))).toBeNull();
  });

  test('is asked for its time once per interval', () => {
    const idle = createIdleWatch();
    let asked = 0;
    for (let nowMs = 0; nowMs < 10 * idleWatchMs; nowMs += sweepIntervalMs)
      idle.sweep(nowMs, false, { cpuMs: () => (asked += 1), hoards: () => false });
    expect(asked).toBe(9);
  });

  test.each([[true], [false]])(
    'that has too much memory is found at the next reading, active or not: %p',
    (isActive) => {
      const idle = createIdleWatch();
      expect(idle.sweep(0, isActive, reading(0, true))).toBeNull();
      expect(idle.sweep(idleWatchMs, isActive, reading(0, true))).toBe('hoarding');
    },
  );
});
