// Finds a worker that uses the processor or memory without a request for it: its code is no longer ours.
import { POOL_TUNING } from '../../base/limits/pool.ts';

export type IdleWatch = {
  /**
   * Called at each sweep; `isActive`: the worker had something to do since the last one. The readings are
   * taken about once in `POOL_TUNING.idleWatchMs`. `burning` once it has used too much while idle in several of
   * these intervals in a row.
   */
  sweep(nowMs: number, isActive: boolean, readings: WorkerReadings): 'burning' | 'hoarding' | null;
};

export type WorkerReadings = {
  /** Processor time of its process so far; null where that is not known. */
  cpuMs(): number | null;
  /** Whether it has more memory than its requests may need. */
  hoards(): boolean;
};

export function createIdleWatch(): IdleWatch {
  let sweptMs: number | null = null;
  let sinceMs = 0;
  let activeMs = 0;
  let cpuMs: number | null = null;
  let burned = 0;
  return {
    sweep(nowMs, isActive, readings) {
      if (sweptMs === null) sinceMs = nowMs;
      else if (isActive) activeMs += nowMs - sweptMs;
      sweptMs = nowMs;
      if (nowMs - sinceMs < POOL_TUNING.idleWatchMs) return null;
      const now = readings.cpuMs();
      const isBurning = now !== null && cpuMs !== null && now - cpuMs > activeMs + POOL_TUNING.idleCpuMs;
      burned = isBurning ? burned + 1 : 0;
      cpuMs = now;
      sinceMs = nowMs;
      activeMs = 0;
      if (burned >= POOL_TUNING.idleWatchesBurned) return 'burning';
      return readings.hoards() ? 'hoarding' : null;
    },
  };
}
