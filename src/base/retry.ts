// Retries with exponential backoff and full jitter; callers hand in the clock and the randomness.
import type { Clock } from './clock.ts';

export type Backoff = { delayMsMin: number; delayMsMax: number };

/**
 * Milliseconds to wait after attempt number `attempt`, counted from 0: uniform between 0 and `delayMsMin`
 * times 2^attempt, at most `delayMsMax` and at least a tenth of `delayMsMin`. `random` returns 0 to below 1.
 */
export function backoffMs(attempt: number, backoff: Backoff, random: () => number): number {
  const ceiling = Math.min(backoff.delayMsMax, backoff.delayMsMin * 2 ** Math.min(attempt, 30));
  return Math.max(backoff.delayMsMin / 10, random() * ceiling);
}

/**
 * Runs `step` up to `attemptsMax` times and throws its last failure. It tries no further once `signal` has
 * aborted or `isRetryable` says no.
 */
export async function retry<T>(
  step: (attempt: number) => Promise<T>,
  options: Backoff & {
    attemptsMax: number;
    clock: Clock;
    random: () => number;
    signal?: AbortSignal;
    isRetryable?: (failure: unknown) => boolean;
  },
): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await step(attempt);
    } catch (failure) {
      const last = attempt + 1 >= options.attemptsMax || options.signal?.aborted === true;
      if (last || options.isRetryable?.(failure) === false) throw failure;
      await options.clock.sleep(backoffMs(attempt, options, options.random), options.signal);
    }
  }
}
