// The one timer of the engine: fast while anything is under way, slow otherwise.
import type { Clock } from '../../base/clock.ts';
import { POOL_TUNING } from '../../base/limits/pool.ts';
import type { VersionPool } from './pool.ts';
import type { Roster } from './roster.ts';

export type Sweep = {
  /** Something is under way from now on. Cheap: it is called for every request. */
  stir(): void;
  close(): void;
};

export function createSweep(options: {
  clock: Clock;
  roster: Roster;
  pools: ReadonlySet<VersionPool>;
  workerIdleMs: number;
}): Sweep {
  const { clock, pools, roster, workerIdleMs } = options;
  let fast: ReturnType<typeof setInterval> | null = null;
  let quietMs = 0;
  const run = (): boolean => {
    let isActive = roster.sweep(workerIdleMs);
    const nowMs = clock.monotonicMs();
    for (const pool of pools) isActive = pool.tick(nowMs) || isActive;
    return isActive;
  };
  const stop = (): void => {
    if (fast !== null) clearInterval(fast);
    fast = null;
  };
  const slow = setInterval(() => {
    if (fast === null) run();
  }, POOL_TUNING.sweepIdleMs);
  slow.unref();
  return {
    stir() {
      quietMs = 0;
      fast ??= setInterval(() => {
        quietMs = run() ? 0 : quietMs + POOL_TUNING.sweepIntervalMs;
        if (quietMs >= POOL_TUNING.sweepIdleMs) stop();
      }, POOL_TUNING.sweepIntervalMs);
    },
    close() {
      stop();
      clearInterval(slow);
    },
  };
}
