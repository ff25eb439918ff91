// Quotas: executions at a time, and invocations in every window of 60 seconds.
import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { admit, createQuota, isQuotaIdle, release } from '../../../src/model/rules/quota.ts';

describe('A project over its concurrency', () => {
  test('is refused until one execution ends', () => {
    const quota = createQuota({ concurrentMax: 2, perMinuteMax: 100 });
    expect(admit(quota, 0).admitted).toBe(true);
    expect(admit(quota, 0).admitted).toBe(true);
    expect(admit(quota, 0)).toEqual({
      admitted: false,
      code: 'quota_concurrency',
      retryAfterMs: 1_000,
      limit: 2,
    });
    release(quota);
    expect(admit(quota, 0).admitted).toBe(true);
  });

  test('is not charged for refused invocations', () => {
    const quota = createQuota({ concurrentMax: 1, perMinuteMax: 2 });
    admit(quota, 0);
    for (let i = 0; i < 10; i += 1) expect(admit(quota, 0).admitted).toBe(false);
    release(quota);
    expect(admit(quota, 0).admitted).toBe(true);
  });

  test('gains nothing from a release without an admission', () => {
    const quota = createQuota({ concurrentMax: 1, perMinuteMax: 9 });
    release(quota);
    expect(admit(quota, 0).admitted).toBe(true);
    expect(admit(quota, 0).admitted).toBe(false);
  });
});

describe('A project over its invocations per minute', () => {
  test('is refused until the oldest of them leaves the window', () => {
    const quota = createQuota({ concurrentMax: 10, perMinuteMax: 2 });
    admit(quota, 500);
    admit(quota, 30_000);
    expect(admit(quota, 31_000)).toEqual({
      admitted: false,
      code: 'quota_invocations',
      retryAfterMs: 30_000,
      limit: 2,
    });
    expect(admit(quota, 60_999).admitted).toBe(false);
    expect(admit(quota, 61_000).admitted).toBe(true);
  });

  test('has its whole quota again after a long silence', () => {
    const quota = createQuota({ concurrentMax: 10, perMinuteMax: 3 });
    for (let i = 0; i < 3; i += 1) admit(quota, 5_000);
    for (let i = 0; i < 3; i += 1) expect(admit(quota, 900_000).admitted).toBe(true);
    expect(admit(quota, 900_000).admitted).toBe(false);
  });

  test('never passes its limit in any window of 60 seconds, and is admitted after the time to wait', () => {
    const steps = fc.array(fc.integer({ min: 0, max: 9_000 }), { maxLength: 200 });
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 12 }), (gaps, perMinuteMax) => {
        const quota = createQuota({ concurrentMax: 1e6, perMinuteMax });
        const times: number[] = [];
        let now = 0;
        for (const gap of gaps) {
          now += gap;
          const admission = admit(quota, now);
          if (admission.admitted) times.push(now);
          else {
            now += admission.retryAfterMs;
            expect(admit(quota, now).admitted).toBe(true);
            times.push(now);
          }
        }
        for (const [i, end] of times.entries()) {
          const first = times[i - perMinuteMax];
          if (first !== undefined) expect(end - first).toBeGreaterThanOrEqual(60_000);
        }
      }),
      { numRuns: 100 },
    );
  });
});

test('A quota is idle when nothing runs and nothing is counted', () => {
  const quota = createQuota({ concurrentMax: 1, perMinuteMax: 1 });
  expect(isQuotaIdle(quota, 0)).toBe(true);
  admit(quota, 0);
  expect(isQuotaIdle(quota, 100_000)).toBe(false);
  release(quota);
  expect(isQuotaIdle(quota, 100_000)).toBe(true);
});
