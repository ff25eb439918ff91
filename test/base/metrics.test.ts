// Metrics appear in the text format, keep to their bound of series, and can be read at each render.
import { describe, expect, test } from 'bun:test';
import { createMetrics } from '../../src/base/metrics.ts';

describe('A metric', () => {
  test('is shown with its labels in the text format', async () => {
    const metrics = createMetrics();
    metrics
      .counter({ name: 'a_total', help: 'A.', labels: ['code'] })
      .series('x')
      .inc(2);
    metrics.gauge({ name: 'b', help: 'B.' }).series().set(7);
    metrics
      .histogram({ name: 'c_seconds', help: 'C.', buckets: [0.1, 1] })
      .series()
      .observe(0.5);
    const text = await metrics.render();
    expect(text).toContain('# TYPE a_total counter');
    expect(text).toContain('a_total{code="x"} 2');
    expect(text).toContain('\nb 7');
    expect(text).toContain('c_seconds_bucket{le="0.1"} 0');
    expect(text).toContain('c_seconds_bucket{le="1"} 1');
    expect(metrics.contentType).toContain('text/plain');
  });

  test('gives the same series for the same labels', () => {
    const family = createMetrics().counter({ name: 'a_total', help: 'A.', labels: ['x'] });
    expect(family.series('1')).toBe(family.series('1'));
  });

  test('that is collected shows its value at the time of the render', async () => {
    const metrics = createMetrics();
    let value = 1;
    metrics.collected({ kind: 'gauge', name: 'g', help: 'G.', read: () => [{ value }] });
    metrics.collected({
      kind: 'counter',
      name: 'n_total',
      help: 'N.',
      labels: ['of'],
      read: () => [{ labels: { of: 'x' }, value: value * 10 }],
    });
    await metrics.render();
    value = 2;
    const text = await metrics.render();
    expect(text).toContain('\ng 2');
    expect(text).toContain('n_total{of="x"} 20');
  });
});

describe('More label values than the bound', () => {
  test('share one series', async () => {
    const metrics = createMetrics();
    const family = metrics.counter({ name: 'a_total', help: 'A.', labels: ['x'], seriesMax: 2 });
    for (const value of ['1', '2', '3', '4']) family.series(value).inc();
    const text = await metrics.render();
    expect(text).toContain('a_total{x="__overflow__"} 2');
    expect(text).not.toContain('x="3"');
  });

  test('are left out of a collected metric', async () => {
    const metrics = createMetrics();
    const readings = ['1', '2', '3'].map((x) => ({ labels: { x }, value: 1 }));
    metrics.collected({
      kind: 'gauge',
      name: 'g',
      help: 'G.',
      labels: ['x'],
      seriesMax: 2,
      read: () => readings,
    });
    expect(await metrics.render()).not.toContain('x="3"');
  });

  test('fit again once others are dropped', async () => {
    const metrics = createMetrics();
    const family = metrics.counter({ name: 'a_total', help: 'A.', labels: ['x', 'code'], seriesMax: 2 });
    family.series('1', 'a').inc();
    family.series('1', 'b').inc();
    metrics.forget('x', '1');
    family.series('2', 'a').inc();
    const text = await metrics.render();
    expect(text).toContain('a_total{x="2",code="a"} 1');
    expect(text).not.toContain('x="1"');
  });
});
