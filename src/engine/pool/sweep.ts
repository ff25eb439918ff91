// The one timer of the engine: fast while anything is under way, slow otherwise.
import { POOL_TUNING } from '../../base/limits/pool.ts';

export type Sweep = {
  /** Something is under way from here on. Cheap: it is called for every request. */
  arm(): void;
  /** Nothing runs from here on, and no timer holds up the end of the process. */
  close(): void;
};

/** `run` is true while anything is under way. */
export function createSweep(run: () => boolean): Sweep {
  let fast: ReturnType<typeof setInterval> | null = null;
  let quietMs = 0;
  let isClosed = false;
  const stop = (): void => {
    if (fast !== null) clearInterval(fast);
    fast = null;
  };
  const slow = setInterval(() => {
    if (fast === null) run();
  }, POOL_TUNING.sweepIdleMs);
  slow.unref();
  return {
    arm() {
      if (isClosed) return;
      quietMs = 0;
      fast ??= setInterval(() => {
        quietMs = run() ? 0 : quietMs + POOL_TUNING.sweepIntervalMs;
        if (quietMs >= POOL_TUNING.sweepIdleMs) stop();
      }, POOL_TUNING.sweepIntervalMs);
    },
    close() {
      isClosed = true;
      stop();
      clearInterval(slow);
    },
  };
}
