// What a worker is given beside the request that it serves, and how it comes back when that one lasts.
import { beforeEach, describe, expect, test } from 'bun:test';
import { POOL_TUNING } from '../../../src/base/limits/pool.ts';
import { WORKER_SLOTS } from '../../../src/engine/ring/geometry.ts';
import type { PoolLimits, VersionPool } from '../../../src/engine/pool/version_pool.ts';
import { createFakeRing } from './fake_ring.ts';
import { createPoolHost, type Held, type PoolHost } from './pool_host.ts';

let host: PoolHost;

beforeEach(() => {
  host = createPoolHost();
});

const ALL = Array.from({ length: WORKER_SLOTS }, (_, index) => `/${index}`);

/** A pool of two idle workers whose guest takes `cpuUs`; the calls so far are forgotten. */
async function measuredPool(cpuUs: number, limits: Partial<PoolLimits> = {}): Promise<VersionPool> {
  const pool = await host.warmPool({ queueLengthMax: 40, ...limits }, 2);
  host.invoke(pool);
  host.ring.answer(1, cpuUs);
  host.drain();
  await host.settle();
  host.ring.calls.length = 0;
  return pool;
}

/** Worker 1 has `count` invocations, of which it serves the first. */
const invokeAll = (pool: VersionPool, count: number, ms = 500): Held[] =>
  ALL.slice(0, count).map((path) => host.invoke(pool, path, ms));

const kindsOf = (helds: readonly Held[]): (string | null)[] =>
  helds.map(({ outcome }) =>
    outcome !== null && 'code' in outcome ? outcome.code : (outcome?.kind ?? null),
  );

describe('A worker whose guest takes little', () => {
  test('is given as many as it has slots, and then another is', async () => {
    const pool = await measuredPool(1);
    invokeAll(pool, WORKER_SLOTS);
    host.invoke(pool, '/more');
    expect(host.ring.calls).toEqual([...ALL.map((path) => `post 1:1 ${path}`), 'post 0:1 /more']);
    expect(pool.stats()).toMatchObject({ busy: 2, idle: 0, queued: 0 });
  });

  test('answers each in its slot, and idles after the last', async () => {
    const pool = await measuredPool(1);
    const helds = invokeAll(pool, 3);
    host.ring.answer(1, 1);
    host.ring.answer(1, 1);
    host.drain();
    await host.settle();
    expect(kindsOf(helds)).toEqual(['answer', 'answer', null]);
    expect(pool.stats()).toMatchObject({ busy: 1, idle: 1 });
    host.ring.answer(1, 1);
    host.drain();
    await host.settle();
    expect(kindsOf(helds)).toEqual(['answer', 'answer', 'answer']);
    expect(pool.stats()).toMatchObject({ busy: 0, idle: 2 });
  });

  test('takes from the queue as much as it has room for', async () => {
    const pool = await measuredPool(1);
    for (let round = 0; round < 3; round += 1) invokeAll(pool, WORKER_SLOTS);
    expect(pool.stats()).toMatchObject({ busy: 2, queued: WORKER_SLOTS });
    host.ring.answer(0, 1);
    host.ring.answer(0, 1);
    host.drain();
    expect(pool.stats()).toMatchObject({ busy: 2, queued: WORKER_SLOTS - 2 });
  });

  test('is given nothing that came after what waits in the queue', async () => {
    const pool = await measuredPool(1);
    const request = { requestId: 'r', method: 'POST', headers: '', body: new Uint8Array(65_537) };
    const deadlineMs = host.clock.monotonicMs() + 500;
    for (const target of ['/1', '/2', '/3']) void pool.invoke({ ...request, target }, deadlineMs);
    host.invoke(pool, '/small');
    expect(host.ring.calls).toEqual(['post 1:1 /1', 'post 0:1 /2']);
    host.ring.answer(1, 1);
    host.drain();
    expect(host.ring.calls.slice(2)).toEqual(['post 1:1 /3', 'post 1:1 /small']);
  });

  test('is not given what is late already', async () => {
    const pool = await measuredPool(1_000);
    invokeAll(pool, 2);
    const late = host.invoke(pool, '/late', 10);
    await host.clock.advance(10);
    host.ring.answer(1);
    host.drain();
    await host.settle();
    expect(kindsOf([late])).toEqual(['execution_timeout']);
    expect(host.ring.calls).toEqual(['post 1:1 /0', 'post 0:1 /1']);
    expect(pool.stats()).toMatchObject({ idle: 1, queued: 0 });
  });

  test('is given a large body only when it idles', async () => {
    const pool = await measuredPool(1);
    host.invoke(pool, '/small');
    const request = { requestId: 'r', method: 'POST', target: '/large', headers: '' };
    void pool.invoke({ ...request, body: new Uint8Array(65_537) }, host.clock.monotonicMs() + 500);
    void pool.invoke({ ...request, body: new Uint8Array(65_536) }, host.clock.monotonicMs() + 500);
    expect(host.ring.calls.map((call) => call.slice(0, 8))).toEqual(['post 1:1', 'post 0:1', 'post 0:1']);
  });
});

describe('A worker whose guest takes more', () => {
  test('is given what it can do in the time of a wake-up', async () => {
    const pool = await measuredPool(40);
    invokeAll(pool, 4);
    expect(host.ring.calls).toEqual(['post 1:1 /0', 'post 1:1 /1', 'post 1:1 /2', 'post 0:1 /3']);
  });

  test.each([[100], [4_000_000_000]])('takes one at a time at %p µs', async (cpuUs) => {
    const pool = await measuredPool(cpuUs);
    invokeAll(pool, 3);
    expect(host.ring.calls).toEqual(['post 1:1 /0', 'post 0:1 /1']);
    expect(pool.stats().queued).toBe(1);
  });
});

describe('What waits behind a request that lasts', () => {
  test('goes to another worker at the second sweep, in order', async () => {
    const pool = await measuredPool(1);
    invokeAll(pool, 3);
    host.sweep();
    expect(host.ring.calls).toHaveLength(3);
    host.sweep();
    const moved = ['withdraw 1:1', 'withdraw 1:1', 'post 0:1 /1', 'post 0:1 /2'];
    expect(host.ring.calls.slice(3)).toEqual(moved);
    host.invoke(pool, '/3');
    expect(host.ring.calls.at(-1)).toBe('post 0:1 /3');
  });

  test('stays where it is while the worker answers', async () => {
    const pool = await measuredPool(1);
    invokeAll(pool, 4);
    for (let sweeps = 0; sweeps < 3; sweeps += 1) {
      host.sweep();
      host.ring.answer(1, 1);
    }
    host.sweep();
    expect(host.ring.calls.filter((call) => call.startsWith('withdraw'))).toEqual([]);
  });

  test('waits in front of the queue when no worker is free, beyond its bound', async () => {
    const pool = await measuredPool(1);
    invokeAll(pool, WORKER_SLOTS);
    invokeAll(pool, WORKER_SLOTS);
    const last = host.invoke(pool, '/last');
    host.sweep();
    host.sweep();
    expect(pool.stats()).toMatchObject({ busy: 2, queued: 2 * (WORKER_SLOTS - 1) + 1 });
    host.ring.answer(1, 1);
    host.drain();
    expect(host.ring.calls.filter((call) => call === 'post 1:1 /last')).toEqual([]);
    await host.settle();
    expect(last.outcome).toBeNull();
  });

  test('runs elsewhere when that request is late, which alone is a timeout', async () => {
    const pool = await measuredPool(1);
    const helds = [host.invoke(pool, '/late', 100), host.invoke(pool, '/next', 500)];
    await host.clock.advance(100);
    host.sweep();
    expect(host.ring.calls).toContain('kill 1:1');
    host.ring.answer(0, 1);
    host.drain();
    await host.settle();
    expect(kindsOf(helds)).toEqual(['execution_timeout', 'answer']);
    expect(host.counts()).toMatchObject({ killed: 1, busy: 0 });
  });

  test('runs elsewhere when that request ends the worker, and is the only one that fails', async () => {
    const pool = await measuredPool(1);
    const helds = invokeAll(pool, 3);
    host.exit(1, 'signalled', 11);
    expect(host.ring.calls.slice(-2)).toEqual(['post 0:1 /1', 'post 0:1 /2']);
    host.ring.answer(0, 1);
    host.ring.answer(0, 1);
    host.drain();
    await host.settle();
    expect(kindsOf(helds)).toEqual(['guest_crashed', 'answer', 'answer']);
    expect(host.counts()).toMatchObject({ crashed: 1, busy: 0 });
  });

  test('waits with that request when a fresh worker dies before it has begun any', async () => {
    const pool = host.openPool({ workersMax: 1, queueLengthMax: 40 });
    void pool.warm(1);
    host.ring.ready(0);
    host.drain();
    host.ring.hasBegun = () => false;
    const helds = invokeAll(pool, 3);
    host.exit(0);
    host.ring.ready(0);
    host.drain();
    expect(host.ring.calls.slice(-2)).toEqual(['fork 0:2', 'post 0:2 /0']);
    await host.settle();
    expect(kindsOf(helds)).toEqual([null, null, null]);
  });

  test('runs elsewhere with that request when the worker dies before it has begun any', async () => {
    const pool = await measuredPool(1);
    host.ring.hasBegun = () => false;
    const helds = invokeAll(pool, 2);
    host.exit(1);
    expect(host.ring.calls.slice(-2)).toEqual(['post 0:1 /0', 'post 0:1 /1']);
    host.ring.answer(0, 1);
    host.ring.answer(0, 1);
    host.drain();
    await host.settle();
    expect(kindsOf(helds)).toEqual(['answer', 'answer']);
    expect(pool.stats()).toMatchObject({ workers: 1, busy: 0, idle: 1 });
  });

  test('is killed with its worker when that has begun none and nobody else idles', async () => {
    const pool = await measuredPool(1_000);
    host.ring.hasBegun = () => false;
    const helds = invokeAll(pool, 2, 100);
    for (let sweeps = 0; sweeps < 3; sweeps += 1) host.sweep();
    await host.clock.advance(100);
    host.sweep();
    await host.settle();
    expect(kindsOf(helds)).toEqual(['execution_timeout', 'execution_timeout']);
    expect(host.counts()).toMatchObject({ killed: 2, busy: 0 });
  });

  test('is a timeout without harm to that request when only what waits is late', async () => {
    const pool = await measuredPool(1);
    const late = host.invoke(pool, '/late', 3);
    const served = host.invoke(pool, '/served', 500);
    host.ring.hasBegun = (slot) => slot === WORKER_SLOTS + 1;
    await host.clock.advance(4);
    host.sweep();
    await host.settle();
    expect(kindsOf([late, served])).toEqual(['execution_timeout', null]);
    expect(host.ring.calls.filter((call) => call.startsWith('kill'))).toEqual([]);
  });

  test('is served on when that request is late and ends while the worker is polled', async () => {
    const pool = await measuredPool(1);
    const helds = [host.invoke(pool, '/first', 3), host.invoke(pool, '/second', 500)];
    host.ring.hasBegun = () => true;
    const { poll } = host.ring;
    let polls = 0;
    host.ring.poll = (slot, generation) => ((polls += 1) > 2 ? poll(slot, generation) : null);
    host.ring.report(1, { kind: 'answer', cpuUs: 1 }, 'lost');
    await host.clock.advance(4);
    host.sweep();
    await host.settle();
    expect(kindsOf(helds)).toEqual(['answer', null]);
    expect(host.counts()).toMatchObject({ killed: 0 });
  });

  test('does not make a queue look younger than it is', async () => {
    const pool = await measuredPool(1, { workersMax: 3, workersBusy: 3 });
    for (let round = 0; round < 2; round += 1) invokeAll(pool, WORKER_SLOTS, 5_000);
    host.invoke(pool, '/waits', 5_000);
    host.sweep();
    await host.clock.advance(POOL_TUNING.queueMovesMs);
    host.sweep();
    expect(host.ring.calls.filter((call) => call.startsWith('fork'))).toEqual(['fork 2:1']);
  });

  test('runs elsewhere when the worker lies', async () => {
    const pool = await measuredPool(1);
    const helds = invokeAll(pool, 2);
    host.ring.report(1, { kind: 'broken' });
    host.drain();
    host.ring.posted.set(1, []);
    await host.settle();
    expect(kindsOf(helds)[0]).toBe('guest_crashed');
    expect(host.ring.calls).toContain('kill 1:1');
  });

  test('ends with the engine process and with the pool', async () => {
    const pool = await measuredPool(1);
    const helds = invokeAll(pool, 2);
    host.table.detach();
    await host.settle();
    expect(kindsOf(helds)).toEqual(['engine_restarting', 'engine_restarting']);
    host.ring = createFakeRing();
    host.table.attach(host.ring);
    host.sweep();
    for (const place of host.ring.alive.keys()) host.ring.ready(place);
    host.drain();
    const others = invokeAll(pool, 2);
    const closing = pool.close({ graceMs: 0 });
    await host.settle();
    for (const place of host.ring.alive.keys()) host.exit(place);
    await closing;
    expect(kindsOf(others)).toEqual(['shutting_down', 'shutting_down']);
  });
});

describe('A request that its worker has not begun for long', () => {
  test('goes to another one that idles, once', async () => {
    const pool = await measuredPool(1);
    host.ring.hasBegun = () => false;
    invokeAll(pool, 1);
    for (let sweeps = 0; sweeps < 10; sweeps += 1) host.sweep();
    expect(host.ring.calls).toEqual(['post 1:1 /0']);
    host.sweep();
    expect(host.ring.calls.slice(-2)).toEqual(['withdraw 1:1', 'post 0:1 /0']);
    expect(pool.stats()).toMatchObject({ busy: 1, idle: 1, queued: 0 });
    for (let sweeps = 0; sweeps < 30; sweeps += 1) host.sweep();
    expect(host.ring.calls.at(-1)).toBe('post 0:1 /0');
    expect(host.counts()).toMatchObject({ busy: 1, killed: 0 });
  });
});
