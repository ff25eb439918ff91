// Asks the zygote at intervals whether it still obeys: one that is stopped or stuck does not say so itself.
import type { Clock } from '../../base/clock.ts';
import { ENGINE_BOUNDS, ENGINE_TUNING } from '../../base/limits/engine.ts';

export type Watchdog = {
  /** The zygote has answered a ping. */
  pong(): void;
  /** Whether it answered one of the last few pings. */
  isAnswering(): boolean;
};

/**
 * Pings until `signal` aborts. Calls `silent` once, and ends, after `ENGINE_BOUNDS.pingsUnanswered` in a row
 * without an answer, or after `ENGINE_TUNING.pingsMissed` where `isStopped`: a busy machine may give a process
 * no time for a while, but one that was stopped waits for a person. It counts pings, not time, so that a pause
 * of this process is no silence of the other.
 */
export function createWatchdog(options: {
  clock: Clock;
  ping: () => void;
  /** Whether the system lets the process run no further. */
  isStopped: () => boolean;
  silent: () => void;
  signal: AbortSignal;
}): Watchdog {
  const { clock, isStopped, ping, signal, silent } = options;
  let unanswered = 0;
  const watch = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(ENGINE_TUNING.pingIntervalMs, signal);
      if (signal.aborted) return;
      const isWedged = unanswered >= ENGINE_TUNING.pingsMissed && isStopped();
      if (isWedged || unanswered >= ENGINE_BOUNDS.pingsUnanswered) return silent();
      unanswered += 1;
      ping();
    }
  };
  void watch();
  return {
    pong() {
      unanswered = 0;
    },
    isAnswering: () => unanswered < ENGINE_TUNING.pingsMissed,
  };
}
