// A bound on log lines per second, so that no guest and no client can flood the log.
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';

export type LogBudget = {
  /** True when one more line may be written in this second. */
  take(): boolean;
};

/** After a second in which lines were dropped, the next `take` logs first how many. */
export function createLogBudget(options: { clock: Clock; log: Log; linesPerSecondMax: number }): LogBudget {
  const { clock, log, linesPerSecondMax } = options;
  let second = -1;
  let taken = 0;
  return {
    take() {
      const now = Math.floor(clock.monotonicMs() / 1_000);
      if (now !== second) {
        const dropped = taken - linesPerSecondMax;
        if (dropped > 0) log.warn('log lines were dropped', { dropped_count: dropped });
        second = now;
        taken = 0;
      }
      taken += 1;
      return taken <= linesPerSecondMax;
    },
  };
}
