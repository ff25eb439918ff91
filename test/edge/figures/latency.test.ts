// Count, mean and percentiles of latencies from logarithmic buckets.
import { describe, expect, test } from 'bun:test';
import { createLatency, meanMs, observeLatency, percentileMs } from '../../../src/edge/figures/latency.ts';

describe('Latencies', () => {
  test('are zero where nothing was observed', () => {
    const latency = createLatency();
    expect([meanMs(latency), percentileMs(latency, 0.99)]).toEqual([0, 0]);
  });

  test('have the true mean, and percentiles never below and at most 20 % above the true ones', () => {
    const latency = createLatency();
    const values = Array.from({ length: 1_000 }, (_, i) => 0.1 * 1.01 ** i);
    for (const value of values) observeLatency(latency, value);
    expect(meanMs(latency)).toBeCloseTo(values.reduce((sum, value) => sum + value, 0) / 1_000, 6);
    for (const fraction of [0.5, 0.9, 0.99]) {
      const truth = values[1_000 * fraction - 1] ?? 0;
      expect(percentileMs(latency, fraction)).toBeGreaterThanOrEqual(truth);
      expect(percentileMs(latency, fraction)).toBeLessThanOrEqual(truth * 1.2);
    }
  });

  test('outside of the buckets count into the first and the last', () => {
    const latency = createLatency();
    for (const value of [0, 1e-9, 1e12]) observeLatency(latency, value);
    expect(latency.count).toBe(3);
    expect(percentileMs(latency, 0.5)).toBeLessThan(0.02);
    expect(percentileMs(latency, 1)).toBeGreaterThan(30_000);
  });
});
