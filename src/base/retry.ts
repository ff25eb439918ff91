// Retry with exponential backoff and full jitter; clock and randomness are handed in.
import type { Clock } from './clock.ts';

export type Backoff = { delayMsMin: number; delayMsMax: number };

/**
 * Full jitter: uniform in [0, min(max, min * 2^attempt)], never below a tenth of the first delay. `random` is
 * in [0, 1).
 */
export function backoffMs(attempt: number, backoff: Backoff, random: () => number): number {
  const ceiling = Math.min(backoff.delayMsMax, backoff.delayMsMin * 2 ** Math.min(attempt, 30));
  return Math.max(backoff.delayMsMin / 10, random() * ceiling);
}

/**
 * Runs `step` up to `attemptsMax` times; the last failure is thrown. An abort ends it with the failure at
 * hand.
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
