// The engine with real workers: answers, deadlines, crashes, isolation, bounds, and what is left behind.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import type { InvocationOutcome } from '../../src/model/invocation.ts';
import { childrenOf, codeOf, openTestEngine, type TestEngine, textOf, until } from './harness.ts';

const HELLO = 'Hello from edge!\n';
const MIB = 1_048_576;
let host: TestEngine;

beforeAll(async () => {
  host = await openTestEngine();
  await host.engine.ready();
});
afterAll(() => host.close());

const enginePid = (): number => {
  const pid = host.engine.stats().enginePid;
  if (pid === null) throw new Error('the engine process is not there');
  return pid;
};

/** Clock ticks that a process has run so far, of which a second has 100. */
function ticksOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const [, utime, stime] = /\) \S(?: \S+){10} (\d+) (\d+) /.exec(stat) ?? [];
  return Number(utime) + Number(stime);
}

describe('A guest', () => {
  test.each([['hello/hello-c.wasm'], ['hello/hello-rust.wasm'], ['hello/hello-assemblyscript.wasm']])(
    'answers: %s',
    async (file) => {
      const { pool, code } = await host.openGuest(file);
      expect(code).toMatchObject({ execution: 'aot' });
      const outcome = await host.invoke(pool);
      expect(outcome).toMatchObject({
        kind: 'answer',
        status: 200,
        headers: [['content-type', 'text/plain']],
        logs: null,
      });
      expect(textOf(outcome)).toBe(HELLO);
      await pool.close({ graceMs: 100 });
    },
  );

  test('gets method, path, headers and a large body as they are, byte for byte', async () => {
    const { pool } = await host.openGuest('echo/echo.wasm', { memory_pages: 1_024, max_execution_ms: 5_000 });
    const body = new Uint8Array(10 * MIB - 1_024);
    for (let at = 0; at < body.length; at += 1) body[at] = (at * 31 + (at >> 8)) & 0xff;
    const headers = 'x-name: caf\u00e9\r\nx-name: again\r\n';
    const outcome = await host.invoke(pool, { method: 'PUT', target: '/a?b=c', headers, body });
    if (outcome.kind !== 'answer') throw new Error(JSON.stringify(outcome));
    const head = Buffer.from(`PUT /a?b=c\n${headers}\n`, 'latin1');
    expect(Buffer.from(outcome.body.subarray(0, head.length)).equals(head)).toBe(true);
    expect(Buffer.from(outcome.body.subarray(head.length)).equals(body)).toBe(true);
    await pool.close({ graceMs: 100 });
  });

  test('is not reached by a request that no slot has room for', async () => {
    const { pool } = await host.openGuest('echo/echo.wasm');
    const large = await host.invoke(pool, { body: new Uint8Array(10 * MIB + 1) });
    expect(large).toEqual({ kind: 'refused', code: 'request_too_large' });
    const wide = await host.invoke(pool, { headers: 'x'.repeat(200_000) });
    expect(wide).toEqual({ kind: 'refused', code: 'headers_too_large' });
    expect((await host.invoke(pool)).kind).toBe('answer');
    await pool.close({ graceMs: 100 });
  });

  test('says its log lines with the answer', async () => {
    const { pool } = await host.openGuest('log/log.wasm');
    const outcome = await host.invoke(pool, { target: '/log/2', body: new TextEncoder().encode('a line') });
    expect(outcome).toMatchObject({
      kind: 'answer',
      logs: { lines: [{ level: 2, text: 'a line' }], dropped: 0 },
    });
    await pool.close({ graceMs: 100 });
  });
});

describe('Requests that wait behind another in the slots of a worker', () => {
  test.each([
    ['/loop', 'execution_timeout'],
    ['/recurse', 'guest_stack_exhausted'],
    ['/trap', 'trap_unreachable'],
  ])('are answered when that one is %s, and only that one fails', async (path, code) => {
    const { pool } = await host.openGuest('mixed/mixed.wasm', { max_execution_ms: 400, isolation: 'reuse' });
    for (let count = 0; count < 60; count += 1) await host.invoke(pool);
    for (let round = 0; round < 5; round += 1) {
      const bad = host.invoke(pool, { target: path }, 400);
      const startMs = performance.now();
      const others = Array.from({ length: 40 }, () => host.invoke(pool, { target: '/' }, 400));
      expect((await Promise.all(others)).map(codeOf)).toEqual(others.map(() => 'answer'));
      expect(performance.now() - startMs).toBeLessThan(400);
      expect(codeOf(await bad)).toBe(code);
    }
    await pool.close({ graceMs: 100 });
  });
});

describe('A guest that loops', () => {
  test('is killed at its deadline, and its neighbour notices nothing', async () => {
    const [bad, good] = await Promise.all([
      host.openGuest('hostile/loop-forever.wasm', { max_execution_ms: 150 }),
      host.openGuest('hello/hello-c.wasm'),
    ]);
    await Promise.all([bad.pool.warm(1), good.pool.warm(1)]);
    const { killed } = host.engine.stats();
    const startMs = performance.now();
    const looping = host.invoke(bad.pool, {}, 150);
    let answers = 0;
    let isLooping = true;
    const neighbour = async (): Promise<void> => {
      while (isLooping) {
        expect(textOf(await host.invoke(good.pool))).toBe(HELLO);
        answers += 1;
      }
    };
    const going = neighbour();
    expect(codeOf(await looping)).toBe('execution_timeout');
    const tookMs = performance.now() - startMs;
    isLooping = false;
    await going;
    expect(tookMs).toBeGreaterThanOrEqual(149);
    expect(tookMs).toBeLessThan(150 + 50);
    expect(answers).toBeGreaterThan(10);
    expect(host.engine.stats().killed).toBe(killed + 1);
    await until('the killed worker is replaced', () => bad.pool.stats().idle === 1);
    await Promise.all([bad.pool.close({ graceMs: 0 }), good.pool.close({ graceMs: 0 })]);
  });

  test('in its start function gives the deadline of the request, not an answer', async () => {
    const { pool } = await host.openGuest('hostile/start-loop.wasm', { max_execution_ms: 100 });
    expect(codeOf(await host.invoke(pool, {}, 100))).toBe('execution_timeout');
    await pool.close({ graceMs: 0 });
  });
});

describe('A start function that logs', () => {
  test('and traps shows what it logged with the reason', async () => {
    const { pool } = await host.openGuest('hostile/start-log-trap.wasm');
    expect(await pool.warm(1)).toEqual({
      ok: false,
      code: 'guest_start_failed',
      detail:
        'the start function ended with trap_unreachable; it logged "reading settings", "no table \\"users\\""',
    });
    await pool.close({ graceMs: 0 });
  });

  test('and is killed at its deadline shows what it logged before', async () => {
    const { pool } = await host.openGuest('hostile/start-log-loop.wasm', { max_execution_ms: 100 });
    const outcome = await host.invoke(pool, {}, 10_000);
    expect(outcome).toMatchObject({
      code: 'execution_timeout',
      detail: 'its start took too long; it logged "waiting for ever"',
    });
    await pool.close({ graceMs: 0 });
  });
});

describe('A guest that crashes its worker', () => {
  test('costs one request, and the next one is answered by another worker', async () => {
    const [bad, good] = await Promise.all([
      host.openGuest('hostile/recursion-deep.wasm', { max_execution_ms: 2_000 }),
      host.openGuest('hello/hello-c.wasm'),
    ]);
    await good.pool.warm(1);
    const before = childrenOf(enginePid()).length;
    for (let round = 0; round < 3; round += 1) {
      const crashing = host.invoke(bad.pool);
      expect(textOf(await host.invoke(good.pool))).toBe(HELLO);
      expect(codeOf(await crashing)).toBe('guest_stack_exhausted');
    }
    expect(host.lines.some((line) => line.includes('guest_stack_exhausted'))).toBe(true);
    await bad.pool.close({ graceMs: 0 });
    await until('the crashed workers are gone', () => childrenOf(enginePid()).length === before);
    await good.pool.close({ graceMs: 0 });
  });
});

describe('Isolation', () => {
  test.each([
    ['clean', ['1\n', '1\n', '1\n']],
    ['reuse', ['1\n', '2\n', '3\n']],
  ] as const)('%s: a counter in a global says %p', async (isolation, bodies) => {
    const { pool } = await host.openGuest('counter/counter.wasm', { isolation });
    for (const body of bodies) expect(textOf(await host.invoke(pool))).toBe(body);
    await pool.close({ graceMs: 0 });
  });

  test('reuse: max_reuse requests, then a new instance', async () => {
    const { pool } = await host.openGuest('counter/counter.wasm', { isolation: 'reuse', max_reuse: 2 });
    for (const body of ['1\n', '2\n', '1\n', '2\n']) expect(textOf(await host.invoke(pool))).toBe(body);
    await pool.close({ graceMs: 0 });
  });
});

describe('A worker that is killed from outside', () => {
  test('costs its request as worker_lost, and is replaced', async () => {
    const { pool } = await host.openGuest('hostile/loop-forever.wasm', { max_execution_ms: 3_000 });
    const before = childrenOf(enginePid());
    await pool.warm(1);
    const worker = childrenOf(enginePid()).find((pid) => !before.includes(pid));
    if (worker === undefined) throw new Error('there is no worker');
    const ticks = ticksOf(worker);
    const outcome = host.invoke(pool);
    await until('the guest loops', () => ticksOf(worker) > ticks + 1);
    process.kill(worker, 'SIGKILL');
    expect(codeOf(await outcome)).toBe('worker_lost');
    await until('there is another', () => pool.stats().idle === 1);
    await pool.close({ graceMs: 0 });
  });
});

describe('A pool that is closed', () => {
  test('lets the running ones end, and refuses new ones', async () => {
    const { pool } = await host.openGuest('hello/hello-c.wasm');
    const running = host.invoke(pool);
    const closing = pool.close({ graceMs: 5_000 });
    expect(await host.invoke(pool)).toEqual({ kind: 'unavailable', code: 'shutting_down' });
    expect(textOf(await running)).toBe(HELLO);
    await closing;
    expect(pool.stats()).toEqual({ workers: 0, idle: 0, busy: 0, starting: 0, queued: 0 });
  });

  test('ends what outlives the grace', async () => {
    const { pool } = await host.openGuest('hostile/loop-forever.wasm');
    const running = host.invoke(pool);
    await until('it runs', () => pool.stats().busy === 1);
    await pool.close({ graceMs: 20 });
    expect(await running).toEqual({ kind: 'unavailable', code: 'shutting_down' });
  });
});

describe('Two hundred pools, one after the other', () => {
  test('leave no descriptor, no process and no slot behind', async () => {
    const cycle = async (): Promise<void> => {
      const { pool, code } = await host.openGuest('hello/hello-c.wasm');
      expect(textOf(await host.invoke(pool))).toBe(HELLO);
      await pool.close({ graceMs: 0 });
      code.close();
    };
    const count = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;
    await cycle();
    const before = [count(process.pid), count(enginePid())];
    for (let round = 0; round < 200; round += 1) await cycle();
    expect([count(process.pid), count(enginePid())]).toEqual(before);
    expect(host.engine.stats()).toMatchObject({ workers: 0, busy: 0, restarts: 0 });
    expect(childrenOf(enginePid())).toEqual([]);
  }, 30_000);
});

describe('The engine process', () => {
  test('has one thread, and nothing of the edge in its environment', () => {
    expect(readdirSync(`/proc/${enginePid()}/task`)).toHaveLength(1);
    const names = readFileSync(`/proc/${enginePid()}/environ`, 'utf8')
      .split('\0')
      .map((entry) => entry.split('=')[0]);
    expect(names.filter((name) => name !== '').sort()).toEqual([
      'BUN_FEATURE_FLAG_DISABLE_ASYNC_TRANSPILER',
      'BUN_JSC_useConcurrentGC',
      'BUN_JSC_useConcurrentJIT',
      'BUN_JSC_useWarmUpMarkedBlocks',
      'EDGE_ENGINE',
      'EDGE_ROLE',
    ]);
  });

  test('that is killed under load ends what runs as unavailable; its successor goes on', async () => {
    const { pool } = await host.openGuest('hello/hello-c.wasm');
    await pool.warm(2);
    const old = enginePid();
    const { restarts } = host.engine.stats();
    const outcomes: InvocationOutcome[] = [];
    let isLoading = true;
    const load = Array.from({ length: 16 }, async () => {
      while (isLoading) outcomes.push(await host.invoke(pool));
    });
    await until('there is load', () => outcomes.length > 100);
    process.kill(old, 'SIGKILL');
    await until('it is restarted', () => host.engine.stats().restarts === restarts + 1);
    await host.engine.ready();
    const after = outcomes.length;
    await until('there is load again', () => outcomes.length > after + 100);
    isLoading = false;
    await Promise.all(load);
    const kinds = new Set(outcomes.map(codeOf));
    kinds.delete('answer');
    expect([...kinds]).toEqual(['engine_restarting']);
    expect(outcomes.slice(after + 50).every((outcome) => outcome.kind === 'answer')).toBe(true);
    expect(enginePid()).not.toBe(old);
    await pool.close({ graceMs: 0 });
  });
});

describe('An engine process that does not come up', () => {
  test.each([
    ['a program that is not there', ['/nonexistent/edge']],
    ['a program that ends at once', ['/bin/true']],
    ['a program that says nonsense', ['/bin/echo', '0.14.1']],
  ])(
    '%s: is tried again, leaves nothing open, and its invocations end at their deadline',
    async (_, command) => {
      const before = readdirSync('/proc/self/fd').length;
      const broken = await openTestEngine({ command });
      await until('it is tried again', () => broken.engine.stats().restarts >= 2);
      expect(broken.engine.stats().enginePid).toBeNull();
      expect(broken.lines.some((line) => line.includes('the engine process did not start'))).toBe(true);
      const refused = broken.engine.ready().then(
        () => 'ready',
        () => 'refused',
      );
      await broken.close();
      expect(await refused).toBe('refused');
      await until('every descriptor is closed', () => readdirSync('/proc/self/fd').length <= before);
    },
  );
});
