// The quota of a project on one node: executions at a time, and invocations in any window of 60 seconds.

export type QuotaLimits = { concurrentMax: number; perMinuteMax: number };

export type Admission =
  | { admitted: true }
  | {
      admitted: false;
      code: 'quota_concurrency' | 'quota_invocations';
      retryAfterMs: number;
      /** The limit that refused, for the RateLimit headers. */
      limit: number;
    };

const SLOT_MS = 1_000;
/**
 * One more than a minute has seconds: the slot that is filling and the 60 before it, so no window ever
 * exceeds.
 */
const SLOTS = 61;
const CONCURRENCY_RETRY_MS = 1_000;
const ADMITTED = { admitted: true } as const;

/** Owned by one thread; changed only by `admit` and `release`. */
export type Quota = {
  limits: QuotaLimits;
  running: number;
  counts: Uint32Array;
  /** Sum of `counts`. */
  used: number;
  /** Number of the newest second in `counts`. */
  second: number;
};

export function createQuota(limits: QuotaLimits): Quota {
  return { limits, running: 0, counts: new Uint32Array(SLOTS), used: 0, second: 0 };
}

function turn(quota: Quota, nowMs: number): void {
  const second = Math.floor(nowMs / SLOT_MS);
  const passed = second - quota.second;
  if (passed <= 0) return;
  if (passed >= SLOTS) {
    quota.counts.fill(0);
    quota.used = 0;
  } else {
    for (let i = 1; i <= passed; i += 1) {
      const slot = (quota.second + i) % SLOTS;
      quota.used -= quota.counts[slot] ?? 0;
      quota.counts[slot] = 0;
    }
  }
  quota.second = second;
}

/** Milliseconds until the oldest invocation that counts has left the window. */
function untilRoomMs(quota: Quota, nowMs: number): number {
  for (let age = SLOTS - 1; age >= 0; age -= 1) {
    const second = quota.second - age;
    if ((quota.counts[((second % SLOTS) + SLOTS) % SLOTS] ?? 0) > 0)
      return (second + SLOTS) * SLOT_MS - nowMs;
  }
  return SLOT_MS;
}

/**
 * Counts one invocation and one execution in constant time, or refuses; what was refused counts nothing.
 * `nowMs` is on a monotonic clock. Every admission is followed by exactly one `release`.
 */
export function admit(quota: Quota, nowMs: number): Admission {
  turn(quota, nowMs);
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
  const slot = quota.second % SLOTS;
  quota.counts[slot] = (quota.counts[slot] ?? 0) + 1;
  quota.used += 1;
  quota.running += 1;
  return ADMITTED;
}

export function release(quota: Quota): void {
  if (quota.running > 0) quota.running -= 1;
}

/** Nothing runs and nothing counts any more, so that forgetting the quota forgets nothing. */
export function isQuotaIdle(quota: Quota, nowMs: number): boolean {
  turn(quota, nowMs);
  return quota.running === 0 && quota.used === 0;
}
