// Runs a background loop: step, wait, repeat; a failed step is logged and tried again.
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';

/** `close` aborts the signal of the running step and resolves once that step has ended. */
export type Loop = { close(): Promise<void> };

/** `step` returns the milliseconds to wait before the next step; after a failure the wait is `failedMs`. */
export function startLoop(options: {
  name: string;
  clock: Clock;
  log: Log;
  failedMs: number;
  step: (signal: AbortSignal) => Promise<number>;
}): Loop {
  const { name, clock, log, failedMs, step } = options;
  const abort = new AbortController();
  const run = async (): Promise<void> => {
    while (!abort.signal.aborted) {
      let waitMs = failedMs;
      try {
        waitMs = await step(abort.signal);
      } catch (failure) {
        if (abort.signal.aborted) return;
        log.error(`the ${name} loop failed; trying again`, { error: String(failure) });
      }
      await clock.sleep(waitMs, abort.signal);
    }
  };
  const running = run();
  return {
    async close() {
      abort.abort();
      await running;
    },
  };
}
