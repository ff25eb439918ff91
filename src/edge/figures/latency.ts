// How long invocations took, in bounded memory: count, mean and percentiles from logarithmic buckets.

/** Four buckets per doubling, from 1/64 ms upwards: a percentile is at most 19 % above the true one. */
const PER_DOUBLING = 4;
const FIRST_MS = 1 / 64;
const BUCKETS = 96;

export type Latency = { count: number; sumMs: number; buckets: Uint32Array };

export function createLatency(): Latency {
  return { count: 0, sumMs: 0, buckets: new Uint32Array(BUCKETS) };
}

export function observeLatency(latency: Latency, elapsedMs: number): void {
  latency.count += 1;
  latency.sumMs += elapsedMs;
  const index = elapsedMs <= FIRST_MS ? 0 : Math.ceil(Math.log2(elapsedMs / FIRST_MS) * PER_DOUBLING);
  const bucket = index < BUCKETS ? index : BUCKETS - 1;
  latency.buckets[bucket] = (latency.buckets[bucket] ?? 0) + 1;
}

export function meanMs(latency: Latency): number {
  return latency.count === 0 ? 0 : latency.sumMs / latency.count;
}

/** Upper bound of the bucket in which the `fraction` (0 to 1) of all invocations is reached; 0 for none. */
export function percentileMs(latency: Latency, fraction: number): number {
  if (latency.count === 0) return 0;
  const wanted = Math.ceil(latency.count * fraction);
  let seen = 0;
  for (const [index, count] of latency.buckets.entries()) {
    seen += count;
    if (seen >= wanted) return FIRST_MS * 2 ** (index / PER_DOUBLING);
  }
  return FIRST_MS * 2 ** ((BUCKETS - 1) / PER_DOUBLING);
}
