// The end of a connection: after `CONNECT` and after a 400, on each of the three listeners.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { createMetrics } from '../../../src/base/metrics.ts';
import { listenControl } from '../../../src/control/listen.ts';
import { openMetricsListener } from '../../../src/edge/figures/metrics_listener.ts';
import { openFleet } from '../../control/harness.ts';
import { openRaw, openTestServer, until } from '../harness.ts';

const open = new AsyncDisposableStack();
const ports = { functions: 0, control: 0, metrics: 0 };

beforeAll(async () => {
  ports.functions = open.use(openTestServer()).port;
  const fleet = await openFleet();
  open.defer(() => fleet.close());
  const control = listenControl({ control: fleet.control, hostname: '127.0.0.1', port: 0 });
  open.defer(() => control.close());
  ports.control = control.port;
  const listen = { host: '127.0.0.1', port: 0 };
  const metrics = openMetricsListener({ listen, metrics: createMetrics(), waitingFor: () => [] });
  open.defer(() => metrics.close());
  ports.metrics = metrics.port;
});
afterAll(() => open.disposeAsync());

const NEXT = 'GET /livez HTTP/1.1\r\nHost: next\r\n\r\n';
const PATHS = ['a:1', '/livez', '/metrics', '/readyz', '/', '*', 'http://a/livez'];
const BROKEN = [
  'GET /livez HTTP/1.1\r\n\r\n',
  'POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n',
  'GET /livez HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n',
  'GET  /livez\r\n\r\n',
  '\u0016\u0003\u0001 not http\r\n\r\n',
];

/** What comes back on one connection until its end. */
async function answersTo(port: number, bytes: string): Promise<string> {
  const raw = openRaw(port);
  raw.write(bytes);
  await until('there is an answer', () => raw.text() !== '' || raw.isClosed());
  // What a front sends next belongs to somebody else.
  raw.write(NEXT);
  await until(`the connection ends: ${raw.text()}`, raw.isClosed);
  return raw.text();
}

describe.each(['functions', 'control', 'metrics'] as const)('The listener of %s', (name) => {
  test.each(PATHS)('ends a connection after CONNECT %s, and answers nothing else on it', async (target) => {
    const text = await answersTo(ports[name], `CONNECT ${target} HTTP/1.1\r\nHost: a:1\r\n\r\n`);
    expect(text.split('HTTP/1.1 ').length - 1).toBeLessThanOrEqual(1);
  });

  test.each(BROKEN)('ends a connection after what it does not understand: %j', async (bytes) => {
    const raw = openRaw(ports[name]);
    raw.write(bytes + NEXT);
    await until('there is an answer', () => raw.text() !== '' || raw.isClosed());
    await until(`the connection ends: ${raw.text()}`, raw.isClosed);
    expect(raw.text()).toMatch(/^(HTTP\/1\.1 400 |$)/);
    expect(raw.text().split('HTTP/1.1 ').length - 1).toBeLessThanOrEqual(1);
  });
});
