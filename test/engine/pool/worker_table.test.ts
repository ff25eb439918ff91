// The workers of a node: lies, room for every pool, and the end of the engine process.
import { beforeEach, describe, expect, test } from 'bun:test';
import { POOL_TUNING } from '../../../src/base/limits/pool.ts';
import { createFakeRing } from './fake_ring.ts';
import { createPoolHost, type PoolHost, WORKERS } from './pool_host.ts';

let host: PoolHost;

beforeEach(() => {
  host = createPoolHost();
});

describe('A worker that lies', () => {
  test('about a length is killed, and its request is a crash', async () => {
    const pool = await host.warmPool();
    const held = host.invoke(pool);
    host.ring.report(0, { kind: 'broken' });
    host.drain();
    await host.settle();
    expect(held.outcome).toMatchObject({ kind: 'fault', code: 'guest_crashed' });
    expect(host.ring.calls).toContain('kill 0:1');
    expect(host.counts()).toMatchObject({ busy: 0, crashed: 1 });
  });

  test.each([
    ['an answer of another generation', { kind: 'answer', generation: 99 }],
    ['a start that was over', { kind: 'ready' }],
    ['a failed start in the middle of a request', { kind: 'start_failed' }],
    ['a slot that is not there', { kind: 'answer', slot: 777 }],
  ] as const)('by %s changes nothing', async (_, report) => {
    const pool = await host.warmPool();
    const held = host.invoke(pool);
    host.ring.report(0, report);
    host.drain();
    await host.settle();
    expect(held.outcome).toBeNull();
    expect(pool.stats()).toMatchObject({ workers: 1, busy: 1 });
  });

  test('by recycling for ever is killed after max_execution_ms', async () => {
    const pool = await host.warmPool();
    host.invoke(pool);
    host.ring.answer(0);
    host.drain();
    host.ring.isRecycling = true;
    await host.clock.advance(500);
    host.sweep();
    expect(host.ring.calls).not.toContain('kill 0:1');
    await host.clock.advance(1);
    host.sweep();
    expect(host.ring.calls).toContain('kill 0:1');
    expect(pool.stats().workers).toBe(0);
  });
});

describe('A worker that sends wake-ups', () => {
  const wake = (times: number, generation = 1): void => {
    for (let sent = 0; sent < times; sent += 1) host.table.woke(0, generation);
  };

  test('without anything to report is killed, busy or not', async () => {
    const pool = await host.warmPool();
    wake(POOL_TUNING.wakesAheadMax);
    expect(pool.stats().workers).toBe(1);
    wake(2);
    expect(host.ring.calls).toContain('kill 0:1');
    expect(host.counts()).toMatchObject({ crashed: 1 });
    expect(pool.stats().workers).toBe(0);
  });

  test('ends with the request that it serves', async () => {
    const pool = await host.warmPool();
    const held = host.invoke(pool);
    wake(POOL_TUNING.wakesAheadMax + 2);
    await host.settle();
    expect(held.outcome).toMatchObject({ kind: 'fault', code: 'guest_crashed' });
  });

  test('for each report lives, however many they are and whichever comes first', async () => {
    const pool = await host.warmPool();
    for (let round = 0; round < 3 * POOL_TUNING.wakesAheadMax; round += 1) {
      host.invoke(pool);
      if (round % 2 === 0) wake(1);
      host.ring.answer(0);
      host.drain();
      if (round % 2 === 1) wake(1);
    }
    expect(pool.stats().workers).toBe(1);
  });

  test('has little credit, however often it reported without one', async () => {
    const pool = await host.warmPool();
    for (let round = 0; round < 4 * POOL_TUNING.wakesAheadMax; round += 1) {
      host.invoke(pool);
      host.ring.answer(0);
      host.drain();
    }
    wake(2 * POOL_TUNING.wakesAheadMax + 1);
    expect(pool.stats().workers).toBe(0);
  });

  test('in the name of an earlier worker, or of none, harms nobody', async () => {
    const pool = await host.warmPool();
    wake(9 * POOL_TUNING.wakesAheadMax, 2);
    host.table.woke(0xffff_ffff, 1);
    expect(pool.stats().workers).toBe(1);
  });
});

describe('A worker that uses the processor', () => {
  const PID = 77;
  const BURN_MS = 1_000;
  const STEP_MS = 100;

  /** Lets a second pass in which it uses one processor. */
  const burn = async (generation = 1): Promise<void> => {
    host.ring.cpu.clear();
    host.table.started({ slot: 0, generation, pid: PID });
    for (let ms = STEP_MS; ms <= BURN_MS; ms += STEP_MS) {
      host.ring.cpu.set(PID, ms);
      await host.clock.advance(STEP_MS);
      host.sweep();
    }
  };

  test('without a request is killed and counted', async () => {
    const pool = await host.warmPool();
    await burn();
    expect(host.ring.calls).toContain('kill 0:1');
    expect(host.counts().crashed).toBe(1);
    expect(pool.stats().idle).toBe(0);
    host.exit(0);
    host.sweep();
    expect(host.ring.alive.size).toBe(0);
  });

  test('keeps its version without another one for a time that doubles', async () => {
    const pool = await host.warmPool();
    for (const [burned, waitMs] of [POOL_TUNING.misbehavedMsMin, 2 * POOL_TUNING.misbehavedMsMin].entries()) {
      await burn(burned + 1);
      host.exit(0);
      const refused = host.invoke(pool);
      await host.settle();
      expect(refused.outcome).toMatchObject({ kind: 'fault', code: 'guest_crashed' });
      // It was killed within the second that it burned.
      await host.clock.advance(waitMs - BURN_MS - 1);
      host.invoke(pool);
      expect(host.ring.alive.size).toBe(0);
      await host.clock.advance(BURN_MS);
      host.invoke(pool);
      expect(host.ring.calls.at(-1)).toBe(`fork 0:${burned + 2}`);
      host.ring.ready(0);
      host.drain();
      host.ring.answer(0);
      host.drain();
    }
  });

  test('for a request stays', async () => {
    host.invoke(await host.warmPool(), '/long', 60_000);
    await burn();
    expect(host.ring.calls).not.toContain('kill 0:1');
    expect(host.counts()).toMatchObject({ crashed: 0, busy: 1 });
  });
});

describe('A kill', () => {
  const kills = (): string[] => host.ring.calls.filter((call) => call.startsWith('kill'));

  test('that does not reach the worker is repeated until it does', async () => {
    host.invoke(await host.warmPool(), '/slow', 500);
    host.ring.takesKills = false;
    await host.clock.advance(500);
    host.sweep();
    host.sweep();
    expect(kills()).toEqual(['kill 0:1', 'kill 0:1']);
    host.ring.takesKills = true;
    host.sweep();
    host.sweep();
    expect(kills()).toHaveLength(3);
  });

  test('is not repeated for a worker that has been reaped', async () => {
    host.invoke(await host.warmPool(), '/slow', 500);
    host.ring.takesKills = false;
    await host.clock.advance(500);
    host.sweep();
    host.exit(0);
    host.sweep();
    expect(kills()).toEqual(['kill 0:1']);
    expect(host.ring.alive.has(0)).toBe(false);
  });
});

describe('A node that has no place for another worker', () => {
  test('gives the place of the longest idle worker above a minimum to the pool in need', async () => {
    const first = await host.warmPool({ workersMin: 1 }, 2);
    await host.clock.advance(10);
    const second = await host.warmPool();
    expect(host.ring.alive.size).toBe(WORKERS);
    host.invoke(host.openPool(), '/new');
    expect(host.ring.calls.at(-1)).toBe('kill 0:1');
    expect(first.stats().workers).toBe(1);
    host.sweep();
    expect(host.ring.calls.filter((call) => call.startsWith('kill'))).toHaveLength(1);
    host.exit(0);
    host.sweep();
    expect(host.ring.calls.at(-1)).toBe('fork 0:2');
    expect(second.stats().workers).toBe(1);
  });

  test('takes even the last worker of a pool for one that has none, and leaves it without', async () => {
    const old = [await host.warmPool(), await host.warmPool(), await host.warmPool()];
    host.invoke(host.openPool(), '/new');
    expect(host.ring.calls.at(-1)).toBe('kill 0:1');
    host.exit(0);
    host.sweep();
    expect(host.ring.calls.at(-1)).toBe('fork 0:2');
    expect(old[0]?.stats().workers).toBe(0);
    host.sweep();
    expect(host.ring.alive.size).toBe(WORKERS);
  });

  test('never takes a busy worker', async () => {
    for (let count = 0; count < WORKERS; count += 1) host.invoke(await host.warmPool());
    const held = host.invoke(host.openPool(), '/new', 500);
    host.sweep();
    expect(host.ring.calls.filter((call) => call.startsWith('kill'))).toEqual([]);
    await host.settle();
    expect(held.outcome).toBeNull();
  });
});

describe('Workers that nobody needs', () => {
  test('end after the idle time, down to the minimum', async () => {
    const pool = await host.warmPool({ workersMin: 1 }, 2);
    await host.clock.advance(300);
    host.sweep(300);
    expect(pool.stats().workers).toBe(2);
    await host.clock.advance(1);
    host.sweep(300);
    expect(pool.stats().workers).toBe(1);
    host.sweep(300);
    expect(pool.stats().workers).toBe(1);
  });
});

describe('The end of the engine process', () => {
  test('ends what runs as unavailable, keeps what waits, and starts anew in the next ring', async () => {
    const pool = await host.warmPool({ workersMax: 1 });
    const running = host.invoke(pool, '/1');
    const waiting = host.invoke(pool, '/2');
    host.table.detach();
    await host.settle();
    expect(running.outcome).toEqual({ kind: 'unavailable', code: 'engine_restarting' });
    expect(waiting.outcome).toBeNull();
    expect(pool.stats()).toEqual({ workers: 0, idle: 0, busy: 0, starting: 0, queued: 1 });
    host.ring = createFakeRing();
    host.table.attach(host.ring);
    host.sweep();
    host.ring.ready(0);
    host.drain();
    expect(host.ring.calls).toEqual(['fork 0:2', 'post 0:2 /2']);
  });

  test('ends what waits as unavailable when the deadline passes first', async () => {
    const pool = host.openPool();
    host.table.detach();
    const held = host.invoke(pool, '/1', 100);
    await host.clock.advance(100);
    host.sweep();
    await host.settle();
    expect(held.outcome).toEqual({ kind: 'unavailable', code: 'engine_restarting' });
  });
});
