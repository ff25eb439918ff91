// A bound on log lines per second, of which every project has a share: no guest and no client floods the log.
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';

export type LogBudget = {
  /** True when one more line of a project, for which `share` stands, may be written in this second. */
  take(share: object): boolean;
};

/**
 * `linesPerSecondMax` lines go to whoever comes first. The first `linesOfQuietMax` of a project pass beside
 * them, up to `linesPerSecondMax` again, so that a loud project does not silence a quiet one. After a second in
 * which lines were dropped, the next `take` logs first how many.
 */
export function createLogBudget(options: {
  clock: Clock;
  log: Log;
  linesPerSecondMax: number;
  linesOfQuietMax: number;
}): LogBudget {
  const { clock, log, linesPerSecondMax, linesOfQuietMax } = options;
  let second = -1;
  let taken = 0;
  let takenByQuiet = 0;
  let dropped = 0;
  let takenBy = new Map<object, number>();
  const begin = (now: number): void => {
    if (dropped > 0) log.warn('log lines were dropped', { dropped_count: dropped });
    second = now;
    [taken, takenByQuiet, dropped] = [0, 0, 0];
    takenBy = new Map();
  };
  return {
    take(share) {
      const now = Math.floor(clock.monotonicMs() / 1_000);
      if (now !== second) begin(now);
      const own = (takenBy.get(share) ?? 0) + 1;
      takenBy.set(share, own);
      if (taken < linesPerSecondMax) {
        taken += 1;
        return true;
      }
      if (own <= linesOfQuietMax && takenByQuiet < linesPerSecondMax) {
        takenByQuiet += 1;
        return true;
      }
      dropped += 1;
      return false;
    },
  };
}
