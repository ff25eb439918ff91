// The metrics page of a process that is a control plane and an edge at once.
import { expect, test } from 'bun:test';
import { createMetrics } from '../../src/base/metrics.ts';
import { mergeMetrics } from '../../src/program/modes/exposition.ts';

test('Of families with one name, the merged page shows only that of the first registry', async () => {
  const [edge, control] = [createMetrics(), createMetrics()];
  edge.gauge({ name: 'up', help: 'Of the edge.' }).series().set(1);
  control
    .gauge({ name: 'up', help: 'Of the control plane.', labels: ['node_id'] })
    .series('n1')
    .set(2);
  control.counter({ name: 'requests_total', help: 'Requests.' }).series().inc(3);
  const text = await mergeMetrics(edge, control).render();
  expect(text).toContain('# HELP up Of the edge.');
  expect(text).toContain('up 1\n');
  expect(text).toContain('requests_total 3\n');
  expect(text).not.toContain('n1');
  expect(text.match(/# TYPE up /g)).toHaveLength(1);
  expect(text).toEndWith('\n');
});
