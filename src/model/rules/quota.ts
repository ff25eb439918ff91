// The quota of a project on one node: executions at a time, and invocations in any window of 60 seconds.

export type QuotaLimits = { concurrentMax: number; perMinuteMax: number };

export type Admission =
  | { admitted: true }
  | {
      admitted: false;
      code: 'quota_concurrency' | 'quota_invocations';
      retryAfterMs: number;
      /** The limit that was reached. */
      limit: number;
    };

const SECOND_MS = 1_000;
/** The second that is being counted and the 60 before it: together they cover any window of 60 seconds. */
const SECONDS = 61;
const CONCURRENCY_RETRY_MS = 1_000;
const ADMITTED = { admitted: true } as const;

/** Only `admit` and `release` change it. */
export type Quota = {
  limits: QuotaLimits;
  running: number;
  /** Invocations by second, as a ring: second `n` is at `n % SECONDS`. */
  counts: Uint32Array;
  /** Sum of `counts`. */
  used: number;
  /** The newest second in `counts`. */
  second: number;
};

export function createQuota(limits: QuotaLimits): Quota {
  return { limits, running: 0, counts: new Uint32Array(SECONDS), used: 0, second: 0 };
}

/** Clears the seconds that have left the window since the last call. */
function advance(quota: Quota, nowMs: number): void {
  const second = Math.floor(nowMs / SECOND_MS);
  const passed = second - quota.second;
  if (passed <= 0) return;
  if (passed >= SECONDS) {
    quota.counts.fill(0);
    quota.used = 0;
  } else {
    for (let i = 1; i <= passed; i += 1) {
      const at = (quota.second + i) % SECONDS;
      quota.used -= quota.counts[at] ?? 0;
      quota.counts[at] = 0;
    }
  }
  quota.second = second;
}

/** Milliseconds until the oldest counted invocation leaves the window. */
function untilRoomMs(quota: Quota, nowMs: number): number {
  for (let age = SECONDS - 1; age >= 0; age -= 1) {
    const second = quota.second - age;
    if ((quota.counts[((second % SECONDS) + SECONDS) % SECONDS] ?? 0) > 0)
      return (second + SECONDS) * SECOND_MS - nowMs;
  }
  return SECOND_MS;
}

/**
 * Counts one invocation and one execution, or refuses and counts nothing; takes constant time. `nowMs` is on
 * a monotonic clock. The caller follows every admission by exactly one `release`.
 */
export function admit(quota: Quota, nowMs: number): Admission {
  advance(quota, nowMs);
  const { concurrentMax, perMinuteMax } = quota.limits;
  if (quota.running >= concurrentMax) {
    return {
      admitted: false,
      code: 'quota_concurrency',
      retryAfterMs: CONCURRENCY_RETRY_MS,
      limit: concurrentMax,
    };
  }
  if (quota.used >= perMinuteMax) {
    return {
      admitted: false,
      code: 'quota_invocations',
      retryAfterMs: untilRoomMs(quota, nowMs),
      limit: perMinuteMax,
    };
  }
  const at = quota.second % SECONDS;
  quota.counts[at] = (quota.counts[at] ?? 0) + 1;
  quota.used += 1;
  quota.running += 1;
  return ADMITTED;
}

export function release(quota: Quota): void {
  if (quota.running > 0) quota.running -= 1;
}

/** True when nothing runs and nothing is counted, so that a new quota is as good as this one. */
export function isQuotaIdle(quota: Quota, nowMs: number): boolean {
  advance(quota, nowMs);
  return quota.running === 0 && quota.used === 0;
}
