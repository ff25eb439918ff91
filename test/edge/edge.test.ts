// A whole edge before a fake engine and a fake control plane: deploy, failure, restart, close.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/id.ts';
import { createLog } from '../../src/base/log.ts';
import { createMetrics } from '../../src/base/metrics.ts';
import { createEdge, edgeLimits, type Edge, type EdgeConfig } from '../../src/edge/edge.ts';
import { defaultVersionSettings } from '../../src/model/function.ts';
import type { InvocationOutcome } from '../../src/model/invocation.ts';
import type { ObservedFunction } from '../../src/model/protocol.ts';
import { answer, createFakeEngine, type FakeEngine } from './fake_engine.ts';
import { createFakeControl, desiredFunction, type FakeControl } from './fake_control.ts';
import { functionId, until } from './harness.ts';

let dir = '';
let control: FakeControl;
let engine: FakeEngine;
let edges: Edge[] = [];
let lines: string[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'edge-node-'));
  control = createFakeControl();
  engine = createFakeEngine();
  edges = [];
  lines = [];
});
afterEach(async () => {
  for (const edge of edges) await edge.close();
  rmSync(dir, { recursive: true, force: true });
});

async function start(config: Partial<EdgeConfig> = {}): Promise<Edge> {
  const clock = createSystemClock();
  const edge = await createEdge({
    config: {
      ...edgeLimits,
      nodeId: 'n1',
      popId: 'p1',
      labels: {},
      edgeVersion: '0.0.0',
      dataDir: join(dir, 'data'),
      cacheDir: join(dir, 'cache'),
      listen: { host: '127.0.0.1', port: 0 },
      metricsListen: { host: '127.0.0.1', port: 0 },
      cpUrl: 'http://control.test',
      joinToken: 'join-1',
      accessLog: 'errors',
      ...config,
    },
    engine,
    clock,
    log: createLog({ clock, write: (line) => void lines.push(line) }),
    random: systemRandom,
    controlFetch: (request) => control.fetch(request),
    publicFetch: () => Promise.reject(new Error('nothing is public here')),
    metrics: createMetrics(),
  });
  edges.push(edge);
  return edge;
}

const get = (edge: Edge, path: string): Promise<Response> => fetch(`http://127.0.0.1:${edge.port}${path}`);
const textOf = async (edge: Edge, path: string): Promise<string> => {
  const response = await get(edge, path);
  const text = await response.text();
  return response.status === 200 ? text : String(response.status);
};
const onMetricsPort = (edge: Edge, path: string): Promise<Response> =>
  fetch(`http://127.0.0.1:${edge.metricsPort}${path}`);
const reported = (n: number, version: string): ObservedFunction | undefined =>
  control.heartbeats.at(-1)?.functions.find((held) => held.id === functionId(n) && held.version === version);
const isReported =
  (n: number, version: string, state: string): (() => boolean) =>
  () =>
    reported(n, version)?.state === state;
const bothAre = (edge: Edge, text: string) => async () =>
  (await textOf(edge, '/1')) === text && (await textOf(edge, '/2')) === text;
const isServed = (edge: Edge, path: string, text: string) => async () => (await textOf(edge, path)) === text;

describe('A deploy', () => {
  test('is pulled, compiled, warmed, then switched in, and reported as cached', async () => {
    const edge = await start();
    expect(await textOf(edge, '/1')).toBe('404');
    control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it is reported', isReported(1, '1.0.0', 'cached'));
    expect(await textOf(edge, '/1')).toBe('1.0.0');
    expect(engine.events).toEqual(['prepare f1 1.0.0', 'open f1 1.0.0', 'warm f1 1.0.0']);
    expect(reported(1, '1.0.0')).toMatchObject({ error: null, execution: 'aot' });
    expect(existsSync(join(dir, 'cache', functionId(1), '1.0.0.wasm'))).toBe(true);
  });

  test('of a second version drains the old one after the switch, and keeps it on disk', async () => {
    const edge = await start();
    control.deploy([desiredFunction(1, '1.0.0')]);
    await until('the first answers', isServed(edge, '/1', '1.0.0'));
    const gate = Promise.withResolvers<InvocationOutcome>();
    let isRunning = false;
    engine.handler = (request, _deadline, ref) => {
      if (request.path !== '/1?slow') return answer(ref.version);
      isRunning = true;
      return gate.promise;
    };
    const slow = get(edge, '/1?slow');
    await until('the old version runs a request', () => isRunning);
    control.deploy([desiredFunction(1, '2.0.0')]);
    await until('the second answers', isServed(edge, '/1', '2.0.0'));
    expect(engine.events).not.toContain('close f1 1.0.0');
    gate.resolve(answer('late'));
    expect(await (await slow).text()).toBe('late');
    await until('the old pool is gone', () => engine.openPools() === 1 && engine.openCodes() === 1);
    expect(engine.events.indexOf('warm f1 2.0.0')).toBeLessThan(engine.events.indexOf('close f1 1.0.0'));
    expect(readdirSync(join(dir, 'cache', functionId(1))).sort()).toEqual(['1.0.0.wasm', '2.0.0.wasm']);
  });

  test('of an earlier version takes it from disk', async () => {
    const edge = await start();
    for (const version of ['1.0.0', '2.0.0', '1.0.0']) {
      control.deploy([desiredFunction(1, version)]);
      await until(`${version} answers`, isServed(edge, '/1', version));
    }
    expect(control.artifactReads).toEqual(['f1 1.0.0', 'f1 2.0.0']);
  });

  test('of other routes only opens no other pool', async () => {
    const edge = await start();
    control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it answers', isServed(edge, '/1', '1.0.0'));
    control.deploy([
      desiredFunction(1, '1.0.0', { routes: [{ host: '*', path: '/other', methods: [], priority: 0 }] }),
    ]);
    await until('it has moved', isServed(edge, '/other', '1.0.0'));
    expect(await textOf(edge, '/1')).toBe('404');
    expect(engine.events.filter((event) => event.startsWith('open')).length).toBe(1);
  });

  test('of other settings opens another pool of the same artifact', async () => {
    const edge = await start();
    control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it answers', isServed(edge, '/1', '1.0.0'));
    const settings = { ...defaultVersionSettings, max_execution_ms: 9 };
    control.deploy([desiredFunction(1, '1.0.0', { settings })]);
    await until('the old pool is gone', () => engine.events.includes('close f1 1.0.0'));
    expect(await textOf(edge, '/1')).toBe('1.0.0');
    expect(control.artifactReads).toEqual(['f1 1.0.0']);
  });

  test('that moves on while it is on its way brings only the last version', async () => {
    const gate = Promise.withResolvers<void>();
    engine.gates.set('f1 1.0.0', gate.promise);
    const edge = await start();
    control.deploy([desiredFunction(1, '1.0.0')]);
    await until('the first is being compiled', () => engine.events.includes('prepare f1 1.0.0'));
    control.deploy([desiredFunction(1, '2.0.0')]);
    await until('the node has heard', () => (control.heartbeats.at(-1)?.applied_revision ?? 0) === 2);
    gate.resolve();
    await until('the second answers', isServed(edge, '/1', '2.0.0'));
    expect(engine.events).not.toContain('open f1 1.0.0');
    expect(engine.openCodes()).toBe(1);
  });
});

describe('An undeploy', () => {
  test('is 404 at once, drains the pool and removes the artifact', async () => {
    const edge = await start();
    control.deploy([desiredFunction(1, '1.0.0'), desiredFunction(2, '1.0.0')]);
    await until('both answer', bothAre(edge, '1.0.0'));
    control.deploy([desiredFunction(2, '1.0.0')]);
    await until('it is gone', isServed(edge, '/1', '404'));
    await until('its pool is gone', () => engine.openPools() === 1 && engine.openCodes() === 1);
    await until('its artifact is gone', () => !existsSync(join(dir, 'cache', functionId(1))));
    await until('it is not reported any more', () => control.heartbeats.at(-1)?.functions.length === 1);
    expect(await textOf(edge, '/2')).toBe('1.0.0');
  });
});

describe('A version that cannot run', () => {
  test('is reported with code and message, and the one before it keeps answering', async () => {
    engine.refusals.set('f1 2.0.0', { code: 'forbidden_import', message: 'it imports env.fork' });
    const edge = await start();
    control.deploy([desiredFunction(1, '1.0.0')]);
    await until('the first answers', isServed(edge, '/1', '1.0.0'));
    control.deploy([desiredFunction(1, '2.0.0')]);
    await until('the failure is reported', isReported(1, '2.0.0', 'error'));
    expect(reported(1, '2.0.0')?.error).toBe('forbidden_import: it imports env.fork');
    expect(reported(1, '1.0.0')?.state).toBe('cached');
    expect(await textOf(edge, '/1')).toBe('1.0.0');
    control.deploy([desiredFunction(1, '3.0.0')]);
    await until('the next answers', isServed(edge, '/1', '3.0.0'));
  });

  test('because it does not start leaves no pool and no code behind', async () => {
    engine.unstartable.set('f1 1.0.0', { code: 'guest_start_failed', detail: 'start trapped' });
    const edge = await start();
    control.deploy([desiredFunction(1, '1.0.0')]);
    await until('the failure is reported', isReported(1, '1.0.0', 'error'));
    expect(reported(1, '1.0.0')?.error).toBe('guest_start_failed: start trapped');
    expect([engine.openPools(), engine.openCodes()]).toEqual([0, 0]);
    const response = await get(edge, '/1');
    expect([response.status, Number(response.headers.get('retry-after')) > 0]).toEqual([503, true]);
  });

  test('because its artifact was tampered with is reported and not stored; others go on', async () => {
    control.artifactMode = 'tampered';
    const edge = await start();
    control.deploy([desiredFunction(1, '1.0.0')]);
    await until('the failure is reported', isReported(1, '1.0.0', 'error'));
    expect(reported(1, '1.0.0')?.error).toStartWith('artifact_unavailable: ');
    expect(existsSync(join(dir, 'cache', functionId(1)))).toBe(false);
    expect(engine.events).toEqual([]);
    expect((await get(edge, '/1')).status).toBe(503);
    control.artifactMode = 'up';
    control.deploy([desiredFunction(1, '1.0.0'), desiredFunction(2, '1.0.0')]);
    await until('another answers', isServed(edge, '/2', '1.0.0'));
    await until('it is tried again and answers', isServed(edge, '/1', '1.0.0'));
  });

  test('because the network is gone stays loading until it has been tried five times', async () => {
    control.artifactMode = 'gone';
    await start();
    control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it was tried', () => control.artifactReads.length === 1);
    expect(reported(1, '1.0.0')?.state ?? 'loading').toBe('loading');
  });
});

describe('A request for a function that is on its way', () => {
  test('waits for it, and all of them share one pull', async () => {
    const gate = Promise.withResolvers<void>();
    engine.gates.set('f1 1.0.0', gate.promise);
    const edge = await start();
    const settings = { ...defaultVersionSettings, max_execution_ms: 30_000 };
    control.deploy([desiredFunction(1, '1.0.0', { settings })]);
    await until('it is being compiled', () => engine.events.includes('prepare f1 1.0.0'));
    const waiting = [get(edge, '/1'), get(edge, '/1'), get(edge, '/1')];
    gate.resolve();
    for (const response of waiting) expect(await (await response).text()).toBe('1.0.0');
    expect(control.artifactReads.length).toBe(1);
  });
});

describe('A node that starts without its control plane', () => {
  test('answers from disk, verifies what it reads, and becomes ready', async () => {
    const first = await start();
    control.deploy([desiredFunction(1, '1.0.0'), desiredFunction(2, '1.0.0')]);
    await until('both answer', bothAre(first, '1.0.0'));
    await first.close();
    control.mode = 'gone';
    writeFileSync(join(dir, 'cache', functionId(2), '1.0.0.wasm'), 'f2 6.6.6');
    engine.events.length = 0;
    const edge = await start({ joinToken: null });
    await until('it is ready', () => edge.isReady());
    expect(await textOf(edge, '/1')).toBe('1.0.0');
    expect(await textOf(edge, '/2')).toBe('503');
    expect(engine.events).not.toContain('prepare f2 6.6.6');
    expect(readdirSync(join(dir, 'cache', 'quarantine')).length).toBe(1);
  });

  test('and without ever having joined says so', async () => {
    await expect(start({ joinToken: null })).rejects.toThrow('has not joined');
  });

  test('forgets what is on disk and not desired any more', async () => {
    const first = await start();
    control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it answers', isServed(first, '/1', '1.0.0'));
    await first.close();
    control.deploy([]);
    await start();
    await until('the artifact is gone', () => !existsSync(join(dir, 'cache', functionId(1))));
  });
});

describe('A node that closes', () => {
  test('answers what runs, says offline, and leaves no pool', async () => {
    const edge = await start();
    control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it answers', isServed(edge, '/1', '1.0.0'));
    const gate = Promise.withResolvers<InvocationOutcome>();
    let isRunning = false;
    engine.handler = () => {
      isRunning = true;
      return gate.promise;
    };
    const running = get(edge, '/1');
    await until('one runs', () => isRunning);
    const closed = edge.close();
    expect((await onMetricsPort(edge, '/readyz')).status).toBe(503);
    expect((await onMetricsPort(edge, '/livez')).status).toBe(200);
    gate.resolve(answer('last'));
    expect(await (await running).text()).toBe('last');
    await closed;
    expect(control.heartbeats.at(-1)?.status).toBe('offline');
    expect([engine.openPools(), engine.openCodes()]).toEqual([0, 0]);
    await expect(get(edge, '/1')).rejects.toThrow();
  });

  test('does so within its bound, also when a request does not end', async () => {
    const edge = await start({ drainMs: 50 });
    control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it answers', isServed(edge, '/1', '1.0.0'));
    const gate = Promise.withResolvers<InvocationOutcome>();
    let isRunning = false;
    engine.handler = () => {
      isRunning = true;
      return gate.promise;
    };
    const running = get(edge, '/1').catch(() => null);
    await until('one runs', () => isRunning);
    const closed = edge.close();
    await until('the control plane was told', () => control.heartbeats.at(-1)?.status === 'offline');
    gate.resolve(answer(''));
    await closed;
    await running;
  });
});

describe('The metrics port', () => {
  test('has the figures by their names, and every path of the public port belongs to functions', async () => {
    const edge = await start();
    control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it answers', isServed(edge, '/1', '1.0.0'));
    for (const path of ['/metrics', '/livez', '/readyz']) expect(await textOf(edge, path)).toBe('404');
    const text = await (await onMetricsPort(edge, '/metrics')).text();
    const names = [
      'edge_node_up 1',
      `wasm_invoke_count_total{function_id="${functionId(1)}"} 1`,
      `wasm_invoke_latency_seconds_count{function_id="${functionId(1)}"} 1`,
      'wasm_cache_hits_total 0',
      'wasm_cache_misses_total 1',
      'wasm_pulls_total{result="ok"} 1',
      'node_memory_bytes ',
      'node_cpu_percent ',
      'edge_heartbeats_total{result="ok"} ',
      `wasm_pool_workers{function_id="${functionId(1)}"} 1`,
      'edge_desired_revision 1',
    ];
    for (const name of names) expect(text).toContain(name);
    expect((await onMetricsPort(edge, '/other')).status).toBe(404);
  });

  test('is ready once the first desired state has been applied', async () => {
    const gate = Promise.withResolvers<void>();
    engine.gates.set('f1 1.0.0', gate.promise);
    control.deploy([desiredFunction(1, '1.0.0')]);
    const edge = await start();
    await until('it is being compiled', () => engine.events.includes('prepare f1 1.0.0'));
    expect((await onMetricsPort(edge, '/readyz')).status).toBe(503);
    gate.resolve();
    await until('it is ready', async () => (await onMetricsPort(edge, '/readyz')).status === 200);
  });
});

describe('A heartbeat of a node that answers', () => {
  test('has the counts and times of each version', async () => {
    const edge = await start();
    control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it answers', isServed(edge, '/1', '1.0.0'));
    engine.handler = () => ({ kind: 'fault', code: 'guest_trap', detail: null, logs: null });
    expect(await textOf(edge, '/1')).toBe('500');
    control.deploy([desiredFunction(1, '1.0.0'), desiredFunction(2, '1.0.0')]);
    await until('it is reported', isReported(2, '1.0.0', 'cached'));
    const held = reported(1, '1.0.0');
    expect(held).toMatchObject({ invocation_count: 2, error_count: 1 });
    expect(held?.p99_ms).toBeGreaterThan(0);
    expect(held?.avg_latency_ms).toBeGreaterThan(0);
  });
});

test('A port in use is an exception, and nothing is left open', async () => {
  const edge = await start();
  const listen = { host: '127.0.0.1', port: edge.port };
  await expect(start({ listen, dataDir: join(dir, 'd2'), cacheDir: join(dir, 'c2') })).rejects.toThrow();
});

test('A second node with the same cache directory does not take the artifacts of the first', async () => {
  const first = await start();
  control.deploy([desiredFunction(1, '1.0.0')]);
  await until('the first answers', isServed(first, '/1', '1.0.0'));
  const second = await start({ dataDir: join(dir, 'second') });
  await until('the second answers', isServed(second, '/1', '1.0.0'));
  expect(existsSync(join(dir, 'second', 'artifacts', functionId(1), '1.0.0.wasm'))).toBe(true);
  expect(existsSync(join(dir, 'cache', functionId(1), '1.0.0.wasm'))).toBe(true);
});

test('No secret reaches the log', async () => {
  const edge = await start();
  control.deploy([desiredFunction(1, '1.0.0')]);
  await until('it answers', isServed(edge, '/1', '1.0.0'));
  await edge.close();
  expect(lines.join('')).not.toMatch(/node-secret|join-1/);
});
