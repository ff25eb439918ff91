// Waits for work no longer than a deadline allows.
import type { Clock } from './clock.ts';

/**
 * Settles as `work` does, or resolves to `'late'` once `ms` milliseconds have passed or `signal` aborts. Late
 * work goes on and its failure is ignored; a caller that wants it to stop has to stop it.
 */
export async function within<T>(
  clock: Clock,
  ms: number,
  work: Promise<T>,
  signal?: AbortSignal,
): Promise<T | 'late'> {
  const settled = new AbortController();
  const stop = signal === undefined ? settled.signal : AbortSignal.any([settled.signal, signal]);
  work.catch(() => undefined);
  try {
    return await Promise.race([work, clock.sleep(ms, stop).then(() => 'late' as const)]);
  } finally {
    settled.abort();
  }
}
