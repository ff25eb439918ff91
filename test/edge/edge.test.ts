// Deployments on a whole edge, with a fake engine and a fake control plane.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { defaultVersionSettings } from '../../src/model/function.ts';
import type { InvocationOutcome } from '../../src/model/invocation.ts';
import { desiredFunction } from './fake_control.ts';
import { answer } from './fake_engine.ts';
import { functionId, until } from './harness.ts';
import { areBothServed, createTestNodes, get, isServed, type TestNodes, textOf } from './nodes.ts';

let nodes: TestNodes;

beforeEach(() => {
  nodes = createTestNodes();
});
afterEach(() => nodes.close());

describe('A deploy', () => {
  test('is pulled, compiled, warmed, then switched in, and reported as cached', async () => {
    const edge = await nodes.start();
    expect(await textOf(edge, '/1')).toBe('404');
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it is reported', nodes.isReported(1, '1.0.0', 'cached'));
    expect(await textOf(edge, '/1')).toBe('1.0.0');
    expect(nodes.engine.events).toEqual(['prepare f1 1.0.0', 'open f1 1.0.0', 'warm f1 1.0.0']);
    expect(nodes.reported(1, '1.0.0')).toMatchObject({ error: null, execution: 'aot' });
    expect(existsSync(join(nodes.dir, 'cache', functionId(1), '1.0.0.wasm'))).toBe(true);
  });

  test('of a second version drains the first after the switch, and keeps it on disk', async () => {
    const edge = await nodes.start();
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    await until('the first answers', isServed(edge, '/1', '1.0.0'));
    const gate = Promise.withResolvers<InvocationOutcome>();
    let isRunning = false;
    nodes.engine.handler = (request, _deadline, ref) => {
      if (request.target !== '/1?slow') return answer(ref.version);
      isRunning = true;
      return gate.promise;
    };
    const slow = get(edge, '/1?slow');
    await until('the old version runs a request', () => isRunning);
    nodes.control.deploy([desiredFunction(1, '2.0.0')]);
    await until('the second answers', isServed(edge, '/1', '2.0.0'));
    expect(nodes.engine.events).not.toContain('close f1 1.0.0');
    gate.resolve(answer('late'));
    expect(await (await slow).text()).toBe('late');
    await until(
      'the old pool is gone',
      () => nodes.engine.openPools() === 1 && nodes.engine.openCodes() === 1,
    );
    expect(nodes.engine.events.indexOf('warm f1 2.0.0')).toBeLessThan(
      nodes.engine.events.indexOf('close f1 1.0.0'),
    );
    expect(readdirSync(join(nodes.dir, 'cache', functionId(1))).sort()).toEqual(['1.0.0.wasm', '2.0.0.wasm']);
  });

  test('of an earlier version takes its artifact from disk', async () => {
    const edge = await nodes.start();
    for (const version of ['1.0.0', '2.0.0', '1.0.0']) {
      nodes.control.deploy([desiredFunction(1, version)]);
      await until(`${version} answers`, isServed(edge, '/1', version));
    }
    expect(nodes.control.artifactReads).toEqual(['f1 1.0.0', 'f1 2.0.0']);
  });

  test('that only changes the routes opens no other pool', async () => {
    const edge = await nodes.start();
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it answers', isServed(edge, '/1', '1.0.0'));
    nodes.control.deploy([
      desiredFunction(1, '1.0.0', { routes: [{ host: '*', path: '/other', methods: [], priority: 0 }] }),
    ]);
    await until('it has moved', isServed(edge, '/other', '1.0.0'));
    expect(await textOf(edge, '/1')).toBe('404');
    expect(nodes.engine.events.filter((event) => event.startsWith('open')).length).toBe(1);
  });

  test('of other settings opens another pool for the same artifact', async () => {
    const edge = await nodes.start();
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it answers', isServed(edge, '/1', '1.0.0'));
    const settings = { ...defaultVersionSettings, max_execution_ms: 9 };
    nodes.control.deploy([desiredFunction(1, '1.0.0', { settings })]);
    await until('the old pool is gone', () => nodes.engine.events.includes('close f1 1.0.0'));
    expect(await textOf(edge, '/1')).toBe('1.0.0');
    expect(nodes.control.artifactReads).toEqual(['f1 1.0.0']);
  });

  test('that replaces one on its way opens only the last version', async () => {
    const gate = Promise.withResolvers<void>();
    nodes.engine.gates.set('f1 1.0.0', gate.promise);
    const edge = await nodes.start();
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    await until('the first is being compiled', () => nodes.engine.events.includes('prepare f1 1.0.0'));
    nodes.control.deploy([desiredFunction(1, '2.0.0')]);
    await until(
      'the node has accepted it',
      () => (nodes.control.heartbeats.at(-1)?.applied_revision ?? 0) === 2,
    );
    gate.resolve();
    await until('the second answers', isServed(edge, '/1', '2.0.0'));
    expect(nodes.engine.events).not.toContain('open f1 1.0.0');
    expect(nodes.engine.openCodes()).toBe(1);
  });
});

describe('Warming a version', () => {
  test.each([
    [3, 3],
    [0, 1],
  ])('with poolWorkersMin %i warms %i', async (poolWorkersMin, warmed) => {
    await nodes.start({ poolWorkersMin });
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it is reported', nodes.isReported(1, '1.0.0', 'cached'));
    expect(nodes.engine.warmed.get('f1 1.0.0')).toBe(warmed);
  });

  test('on a node without room for all workers serves with those that are ready', async () => {
    nodes.engine.poolWorkersMax = 2;
    const edge = await nodes.start({ poolWorkersMin: 3 });
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it answers', isServed(edge, '/1', '1.0.0'));
    const line = nodes.lines.find((text) => text.includes('fewer workers than pool_workers_min'));
    expect(JSON.parse(line ?? '{}')).toMatchObject({ level: 'warn', version: '1.0.0', workers: 2 });
  });
});

describe('An undeploy', () => {
  test('gives 404 at once, drains the pool and removes the artifact', async () => {
    const edge = await nodes.start();
    nodes.control.deploy([desiredFunction(1, '1.0.0'), desiredFunction(2, '1.0.0')]);
    await until('both answer', areBothServed(edge, '1.0.0'));
    nodes.control.deploy([desiredFunction(2, '1.0.0')]);
    await until('it is gone', isServed(edge, '/1', '404'));
    await until('its pool is gone', () => nodes.engine.openPools() === 1 && nodes.engine.openCodes() === 1);
    await until('its artifact is gone', () => !existsSync(join(nodes.dir, 'cache', functionId(1))));
    await until('it is not reported', () => nodes.control.heartbeats.at(-1)?.functions.length === 1);
    expect(await textOf(edge, '/2')).toBe('1.0.0');
  });
});

describe('A version that cannot run', () => {
  test('is reported with code and message, and the version before it keeps answering', async () => {
    nodes.engine.refusals.set('f1 2.0.0', { code: 'forbidden_import', message: 'it imports env.fork' });
    const edge = await nodes.start();
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    await until('the first answers', isServed(edge, '/1', '1.0.0'));
    nodes.control.deploy([desiredFunction(1, '2.0.0')]);
    await until('the failure is reported', nodes.isReported(1, '2.0.0', 'error'));
    expect(nodes.reported(1, '2.0.0')?.error).toBe('forbidden_import: it imports env.fork');
    expect(nodes.reported(1, '1.0.0')?.state).toBe('cached');
    expect(await textOf(edge, '/1')).toBe('1.0.0');
    nodes.control.deploy([desiredFunction(1, '3.0.0')]);
    await until('the next answers', isServed(edge, '/1', '3.0.0'));
  });

  test('because it does not start leaves no pool and no code open', async () => {
    nodes.engine.unstartable.set('f1 1.0.0', { code: 'guest_start_failed', detail: 'start trapped' });
    const edge = await nodes.start();
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    await until('the failure is reported', nodes.isReported(1, '1.0.0', 'error'));
    expect(nodes.reported(1, '1.0.0')?.error).toBe('guest_start_failed: start trapped');
    expect([nodes.engine.openPools(), nodes.engine.openCodes()]).toEqual([0, 0]);
    const response = await get(edge, '/1');
    expect([response.status, Number(response.headers.get('retry-after')) > 0]).toEqual([503, true]);
  });

  test('because its artifact was tampered with is reported and not stored, and others come up', async () => {
    nodes.control.artifactMode = 'tampered';
    const edge = await nodes.start();
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    await until('the failure is reported', nodes.isReported(1, '1.0.0', 'error'));
    expect(nodes.reported(1, '1.0.0')?.error).toStartWith('artifact_unavailable: ');
    expect(existsSync(join(nodes.dir, 'cache', functionId(1)))).toBe(false);
    expect(nodes.engine.events).toEqual([]);
    expect((await get(edge, '/1')).status).toBe(503);
    nodes.control.artifactMode = 'up';
    nodes.control.deploy([desiredFunction(1, '1.0.0'), desiredFunction(2, '1.0.0')]);
    await until('another answers', isServed(edge, '/2', '1.0.0'));
    await until('it is tried again and answers', isServed(edge, '/1', '1.0.0'));
  });

  test('because its artifact cannot be fetched is still loading after one attempt', async () => {
    nodes.control.artifactMode = 'gone';
    await nodes.start();
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it was tried', () => nodes.control.artifactReads.length === 1);
    expect(nodes.reported(1, '1.0.0')?.state ?? 'loading').toBe('loading');
  });
});

describe('A request for a function that is on its way', () => {
  test('waits for it, and all such requests share one pull', async () => {
    const gate = Promise.withResolvers<void>();
    nodes.engine.gates.set('f1 1.0.0', gate.promise);
    const edge = await nodes.start();
    const settings = { ...defaultVersionSettings, max_execution_ms: 30_000 };
    nodes.control.deploy([desiredFunction(1, '1.0.0', { settings })]);
    await until('it is being compiled', () => nodes.engine.events.includes('prepare f1 1.0.0'));
    const waiting = [get(edge, '/1'), get(edge, '/1'), get(edge, '/1')];
    gate.resolve();
    for (const response of waiting) expect(await (await response).text()).toBe('1.0.0');
    expect(nodes.control.artifactReads.length).toBe(1);
  });
});

describe('A heartbeat of a node that answers', () => {
  test('has the counts and latencies of each version', async () => {
    const edge = await nodes.start();
    nodes.control.deploy([desiredFunction(1, '1.0.0')]);
    await until('it answers', isServed(edge, '/1', '1.0.0'));
    nodes.engine.handler = () => ({ kind: 'fault', code: 'guest_trap', detail: null, logs: null });
    expect(await textOf(edge, '/1')).toBe('500');
    nodes.control.deploy([desiredFunction(1, '1.0.0'), desiredFunction(2, '1.0.0')]);
    await until('it is reported', nodes.isReported(2, '1.0.0', 'cached'));
    const observed = nodes.reported(1, '1.0.0');
    expect(observed).toMatchObject({ invocation_count: 2, error_count: 1 });
    expect(observed?.p99_ms).toBeGreaterThan(0);
    expect(observed?.avg_latency_ms).toBeGreaterThan(0);
  });
});
