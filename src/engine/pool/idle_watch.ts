// Finds a worker that uses the processor while it has nothing to do: its code is no longer ours.
import { POOL_TUNING } from '../../base/limits/pool.ts';

export type IdleWatch = {
  /**
   * Called at each sweep; `isActive`: the worker had something to do since the last one. `readCpuMs` gives the
   * processor time of its process so far, or null, and is called about once in `POOL_TUNING.idleWatchMs`.
   * True once it has used too much while idle in several of these intervals in a row.
   */
  sweep(nowMs: number, isActive: boolean, readCpuMs: () => number | null): boolean;
};

export function createIdleWatch(): IdleWatch {
  let sweptMs: number | null = null;
  let sinceMs = 0;
  let activeMs = 0;
  let cpuMs: number | null = null;
  let burned = 0;
  return {
    sweep(nowMs, isActive, readCpuMs) {
      if (sweptMs === null) sinceMs = nowMs;
      else if (isActive) activeMs += nowMs - sweptMs;
      sweptMs = nowMs;
      if (nowMs - sinceMs < POOL_TUNING.idleWatchMs) return false;
      const now = readCpuMs();
      const isBurning = now !== null && cpuMs !== null && now - cpuMs > activeMs + POOL_TUNING.idleCpuMs;
      burned = isBurning ? burned + 1 : 0;
      cpuMs = now;
      sinceMs = nowMs;
      activeMs = 0;
      return burned >= POOL_TUNING.idleWatchesBurned;
    },
  };
}
