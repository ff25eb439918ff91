// The life of a whole edge: start without a control plane, readiness, metrics, close.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { InvocationOutcome } from '../../src/model/invocation.ts';
import { desiredFunction } from './fake_control.ts';
import { answer } from './fake_engine.ts';
import { functionId, until } from './harness.ts';
import {
  areBothServed,
  createTestNodes,
  get,
  getMetrics,
  isServed,
  type TestNodes,
  textOf,
} from './nodes.ts';

let nodes: TestNodes;

beforeEach(() => {
  nodes = createTestNodes();
});
afterEach(() => nodes.close());

describe('A node that starts while its control plane is gone', () => {
  test('answers from disk, verifies what it reads, and becomes ready', async () => {
    const first = await nodes.start();
    nodes.control.deploy([desiredFunction(1, '1.0.0'), desiredFunction(2, '1.0.0')]);
    await until('both answer', areBothServed(first, '1.0.0'));
    await first.close();
    nodes.control.mode = 'gone';
    writeFileSync(join(nodes.dir, 'cache', functionId(2), '1.0.0.wasm'), 'f2 6.6.6');
    nodes.engine.events.length = 0;
    const edge = await nodes.start({ joinToken: null });
    await until('it is ready', () => edge.isReady());
    expect(await textOf(edge, '/1')).toBe('1.0.0');
    expect(await textOf(edge, '/2')).toBe('503');
    expect(nodes.engine.events).not.toContain('prepare f2 6.6.6');
    expect(readdirSync(join(nodes.dir, 'cache', 'quarantine')).length).toBe(1);
  });

  test('and has never joined rejects and says so', async () => {
    await expect(nodes.start({ joinToken: null })).rejects.toThrow('has not joined');
  });

  test('removes artifacts that are not desired', async () => {
    const first = await nodes.start();
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it answers', isServed(first, '/1', '1.0.0'));
    await first.close();
    nodes.control.deploy([]);
    await nodes.start();
    await until('the artifact is gone', () => !existsSync(join(nodes.dir, 'cache', functionId(1))));
  });
});

describe('A node whose engine is not ready', () => {
  const lastStatus = (): string | undefined => nodes.control.heartbeats.at(-1)?.status;

  test('reports degraded and opens nothing, until the engine takes work', async () => {
    const gate = Promise.withResolvers<void>();
    nodes.engine.ready = () => gate.promise;
    nodes.engine.isServing = () => false;
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    const edge = await nodes.start();
    await until('it is reported as loading', nodes.isReported(1, '1.0.0', 'loading'));
    expect(lastStatus()).toBe('degraded');
    expect(edge.isReady()).toBe(false);
    expect(nodes.engine.events).toEqual([]);
    nodes.engine.isServing = () => true;
    gate.resolve();
    await until('it is reported as cached', nodes.isReported(1, '1.0.0', 'cached'));
    expect(lastStatus()).toBe('online');
    expect(edge.isReady()).toBe(true);
  });

  test('because it was closed stays degraded and closes as any other', async () => {
    nodes.engine.ready = () => Promise.reject(new Error('closed'));
    nodes.engine.isServing = () => false;
    const edge = await nodes.start();
    await until('it is reported', () => lastStatus() === 'degraded');
    await edge.close();
    expect(lastStatus()).toBe('offline');
  });
});

describe('A node whose engine has tried its wall', () => {
  const report = [
    { part: 'seccomp', state: 'held', reason: null },
    { part: 'landlock', state: 'missing', reason: 'function not implemented (ENOSYS)' },
  ] as const;

  test('shows each part with /readyz, ready or not, in its metrics and in its heartbeats', async () => {
    const edge = await nodes.start();
    nodes.engine.report = [...report];
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it answers', isServed(edge, '/1', '1.0.0'));
    expect(await (await getMetrics(edge, '/readyz')).json()).toEqual({ ready: true, wall: [...report] });
    nodes.engine.isServing = () => false;
    const unready = await (await getMetrics(edge, '/readyz')).json();
    expect(unready).toEqual({ ready: false, waiting_for: ['engine'], wall: [...report] });
    const metrics = await (await getMetrics(edge, '/metrics')).text();
    expect(metrics).toContain('edge_wall_part{part="landlock",state="missing"} 1');
    expect(metrics).toContain('edge_wall_part{part="landlock",state="held"} 0');
    expect(metrics).toContain('edge_wall_part{part="seccomp",state="held"} 1');
    await until('a heartbeat has it', () => nodes.control.heartbeats.at(-1)?.wall?.length === report.length);
  });
});

describe('A node whose engine stops serving', () => {
  test('is not ready, says what it waits for, and answers what it can', async () => {
    const edge = await nodes.start();
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it answers', isServed(edge, '/1', '1.0.0'));
    expect(await (await getMetrics(edge, '/readyz')).json()).toEqual({ ready: true });
    nodes.engine.isServing = () => false;
    const answer = await getMetrics(edge, '/readyz');
    expect(answer.status).toBe(503);
    expect(await answer.json()).toEqual({ ready: false, waiting_for: ['engine'] });
    expect(await textOf(edge, '/1')).toBe('1.0.0');
    nodes.engine.isServing = () => true;
    expect(edge.isReady()).toBe(true);
  });
});

describe('A node that closes', () => {
  test('answers running requests, reports offline, and leaves no pool open', async () => {
    const edge = await nodes.start();
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it answers', isServed(edge, '/1', '1.0.0'));
    const gate = Promise.withResolvers<InvocationOutcome>();
    let isRunning = false;
    nodes.engine.handler = () => {
      isRunning = true;
      return gate.promise;
    };
    const running = get(edge, '/1');
    await until('one runs', () => isRunning);
    const closed = edge.close();
    expect((await getMetrics(edge, '/readyz')).status).toBe(503);
    expect((await getMetrics(edge, '/livez')).status).toBe(200);
    gate.resolve(answer('last'));
    expect(await (await running).text()).toBe('last');
    await closed;
    expect(nodes.control.heartbeats.at(-1)?.status).toBe('offline');
    expect([nodes.engine.openPools(), nodes.engine.openCodes()]).toEqual([0, 0]);
    await expect(get(edge, '/1')).rejects.toThrow();
  });

  test('shares drainMs between a request that does not end and the pools', async () => {
    const edge = await nodes.start({ drainMs: 50 });
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it answers', isServed(edge, '/1', '1.0.0'));
    const gate = Promise.withResolvers<InvocationOutcome>();
    let isRunning = false;
    nodes.engine.handler = () => {
      isRunning = true;
      return gate.promise;
    };
    const running = get(edge, '/1').catch(() => null);
    await until('one runs', () => isRunning);
    const closed = edge.close();
    await until('it is reported as offline', () => nodes.control.heartbeats.at(-1)?.status === 'offline');
    gate.resolve(answer(''));
    await closed;
    await running;
    expect(nodes.engine.graces).toHaveLength(1);
    expect(nodes.engine.graces[0]).toBeLessThan(10);
  });
});

describe('The metrics port', () => {
  test('shows the metrics by their names, and the public port leaves every path to functions', async () => {
    const edge = await nodes.start();
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it answers', isServed(edge, '/1', '1.0.0'));
    for (const path of ['/metrics', '/livez', '/readyz']) expect(await textOf(edge, path)).toBe('404');
    const text = await (await getMetrics(edge, '/metrics')).text();
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
    expect((await getMetrics(edge, '/other')).status).toBe(404);
  });

  test('says ready once the first desired state is applied', async () => {
    const gate = Promise.withResolvers<void>();
    nodes.engine.gates.set('f1 1.0.0', gate.promise);
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    const edge = await nodes.start();
    await until('it is being compiled', () => nodes.engine.events.includes('prepare f1 1.0.0'));
    expect((await getMetrics(edge, '/readyz')).status).toBe(503);
    gate.resolve();
    await until('it is ready', async () => (await getMetrics(edge, '/readyz')).status === 200);
  });
});

test('A port in use rejects, and nothing is left open', async () => {
  const { port } = await nodes.start();
  const own = { dataDir: join(nodes.dir, 'd2'), cacheDir: join(nodes.dir, 'c2') };
  for (const taken of ['listen', 'metricsListen']) {
    const config = { ...own, [taken]: { host: '127.0.0.1', port } };
    await expect(nodes.start(config)).rejects.toThrow();
  }
  await nodes.start(own);
  expect(nodes.lines.join('')).not.toContain('another process has the cache directory');
});

test('A second node with the same cache directory keeps its artifacts elsewhere', async () => {
  const first = await nodes.start();
  nodes.control.deploy([desiredFunction(1, '1.0.0')]);
  await until('the first answers', isServed(first, '/1', '1.0.0'));
  const second = await nodes.start({ dataDir: join(nodes.dir, 'second') });
  await until('the second answers', isServed(second, '/1', '1.0.0'));
  expect(existsSync(join(nodes.dir, 'second', 'artifacts', functionId(1), '1.0.0.wasm'))).toBe(true);
  expect(existsSync(join(nodes.dir, 'cache', functionId(1), '1.0.0.wasm'))).toBe(true);
});

test('No secret reaches the log', async () => {
  const edge = await nodes.start();
  nodes.control.deploy([desiredFunction(1, '1.0.0')]);
  await until('it answers', isServed(edge, '/1', '1.0.0'));
  await edge.close();
  expect(nodes.lines.join('')).not.toMatch(/node-secret|join-1/);
});
