// Waits for work no longer than a deadline allows.
import type { Clock } from './clock.ts';

/**
 * What `work` resolves or rejects with, or `'late'` once `ms` have passed or `signal` aborts. Late work goes
 * on and its failure is dropped: whoever wants it to end must tell it so.
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
