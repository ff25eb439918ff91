// The rules of a pool, with a clock turned by hand and workers that do as they are told.
import { beforeEach, describe, expect, test } from 'bun:test';
import { POOL_BOUNDS, POOL_TUNING } from '../../../src/base/limits/pool.ts';
import { createPoolHost, type PoolHost } from './pool_host.ts';

let host: PoolHost;

beforeEach(() => {
  host = createPoolHost();
});

describe('An invocation', () => {
  test('starts a worker where there is none, and is posted once it is ready', async () => {
    const pool = host.openPool();
    const held = host.invoke(pool, '/a');
    expect(host.ring.calls).toEqual(['fork 0:1']);
    expect(pool.stats()).toEqual({ workers: 1, idle: 0, busy: 0, starting: 1, queued: 1 });
    host.ring.ready(0);
    host.drain();
    expect(host.ring.calls).toEqual(['fork 0:1', 'post 0:1 /a']);
    host.ring.answer(0);
    host.drain();
    await host.settle();
    expect(held.outcome).toMatchObject({ kind: 'answer', status: 200, headers: [['a', 'b']] });
    expect(pool.stats()).toEqual({ workers: 1, idle: 1, busy: 0, starting: 0, queued: 0 });
  });

  test('takes the worker that was used last', async () => {
    const pool = await host.warmPool({}, 2);
    host.invoke(pool, '/a');
    expect(host.ring.calls.at(-1)).toBe('post 1:1 /a');
    host.ring.answer(1);
    host.drain();
    host.invoke(pool, '/b');
    expect(host.ring.calls.at(-1)).toBe('post 1:1 /b');
  });

  test('waits in order when every worker is busy, and is busy when the queue is full', async () => {
    const pool = host.openPool({ workersMax: 1, queueLengthMax: 2 });
    void pool.warm(1);
    host.ring.ready(0);
    host.drain();
    host.invoke(pool, '/1');
    host.invoke(pool, '/2');
    host.invoke(pool, '/3');
    const refused = host.invoke(pool, '/4');
    await host.settle();
    expect(refused.outcome).toEqual({ kind: 'busy', retryAfterMs: 500 });
    host.ring.answer(0);
    host.drain();
    host.ring.answer(0);
    host.drain();
    expect(host.ring.calls.slice(1)).toEqual(['post 0:1 /1', 'post 0:1 /2', 'post 0:1 /3']);
  });

  test('gets enough workers for the processors when the queue is slow, and more when it stands', async () => {
    const pool = host.openPool({ workersMax: 3, queueLengthMax: 9 });
    void pool.warm(1);
    host.ring.ready(0);
    host.drain();
    for (let count = 0; count < 8; count += 1) host.invoke(pool, `/${count}`, 10_000);
    host.sweep();
    expect(pool.stats()).toMatchObject({ workers: 1, queued: 7 });
    await host.clock.advance(POOL_TUNING.queueMovesMs);
    host.sweep();
    expect(pool.stats()).toMatchObject({ workers: 2, starting: 1 });
    host.sweep();
    expect(pool.stats()).toMatchObject({ workers: 2, starting: 1 });
    await host.clock.advance(POOL_TUNING.queueStandsMs - POOL_TUNING.queueMovesMs);
    for (let sweeps = 0; sweeps < 3; sweeps += 1) host.sweep();
    expect(pool.stats()).toMatchObject({ workers: 2, starting: 1 });
    host.sweep();
    expect(pool.stats()).toMatchObject({ workers: 3, starting: 2 });
    host.sweep();
    expect(pool.stats().workers).toBe(3);
  });

  test('gets no further worker while each answers, however long the queue has waited', async () => {
    const pool = host.openPool({ workersMax: 3, queueLengthMax: 40, workersBusy: 1 });
    void pool.warm(1);
    host.ring.ready(0);
    host.drain();
    for (let count = 0; count < 40; count += 1) host.invoke(pool, `/${count}`, 10_000);
    for (let sweeps = 0; sweeps < 20; sweeps += 1) {
      await host.clock.advance(POOL_TUNING.queueStandsMs);
      host.ring.answer(0);
      host.sweep();
    }
    expect(pool.stats()).toMatchObject({ workers: 1, queued: 19 });
  });

  test('is a timeout when its deadline passes in the queue', async () => {
    const pool = await host.warmPool({ workersMax: 1 });
    host.invoke(pool, '/1', 10_000);
    const waiting = host.invoke(pool, '/2', 500);
    await host.clock.advance(499);
    host.sweep();
    await host.settle();
    expect(waiting.outcome).toBeNull();
    await host.clock.advance(1);
    host.sweep();
    await host.settle();
    expect(waiting.outcome).toMatchObject({ kind: 'fault', code: 'execution_timeout' });
  });

  test.each([
    ['late', 'execution_timeout'],
    ['crashed', 'guest_stack_exhausted'],
  ] as const)('that is %s keeps what the guest has logged', async (how, code) => {
    const pool = await host.warmPool();
    const logs = { lines: [{ level: 2, text: 'the last words' }], dropped: 1 };
    host.ring.logsOf = (slot) => (slot === 0 ? logs : null);
    host.ring.hints = () => ({ isInGuest: true, isRecycling: false });
    const held = host.invoke(pool, '/', 100);
    if (how === 'crashed') host.exit(0, 'signalled', 11);
    await host.clock.advance(100);
    host.sweep();
    await host.settle();
    expect(held.outcome).toMatchObject({ kind: 'fault', code, logs });
  });

  test('that is late is answered at once, and its slot is used again only after the exit', async () => {
    const pool = await host.warmPool({ workersMax: 1 });
    const held = host.invoke(pool, '/slow', 100);
    await host.clock.advance(100);
    host.sweep();
    await host.settle();
    expect(held.outcome).toMatchObject({ kind: 'fault', code: 'execution_timeout' });
    expect(host.ring.calls.at(-2)).toBe('kill 0:1');
    expect(host.ring.calls.at(-1)).toBe('fork 1:1');
    host.exit(0);
    expect(host.counts()).toMatchObject({ killed: 1, crashed: 0, workers: 1, busy: 0 });
  });

  test('whose answer arrives after its worker was killed is not answered twice', async () => {
    const pool = await host.warmPool({ workersMax: 1 });
    const held = host.invoke(pool, '/slow', 100);
    await host.clock.advance(100);
    host.table.sweep(1e9);
    host.ring.answer(0);
    host.drain();
    await host.settle();
    expect(held.outcome).toMatchObject({ kind: 'fault', code: 'execution_timeout' });
    expect(pool.stats().idle).toBe(0);
  });

  test('is answered by the sweep when the wake-up was swallowed', async () => {
    const pool = await host.warmPool();
    const held = host.invoke(pool);
    host.ring.report(0, { kind: 'answer' }, 'lost');
    host.drain();
    await host.settle();
    expect(held.outcome).toBeNull();
    host.sweep();
    await host.settle();
    expect(held.outcome?.kind).toBe('answer');
  });

  test('keeps an answer that the worker gave before it died', async () => {
    const pool = await host.warmPool();
    const held = host.invoke(pool);
    host.ring.report(0, { kind: 'answer' }, 'lost');
    host.exit(0, 'signalled', 11);
    await host.settle();
    expect(held.outcome?.kind).toBe('answer');
    expect(pool.stats().idle).toBe(0);
  });

  test.each([['request_too_large'], ['headers_too_large']] as const)(
    'that is %s costs no worker',
    async (code) => {
      const pool = await host.warmPool();
      host.ring.postOutcome = code;
      const held = host.invoke(pool);
      await host.settle();
      expect(held.outcome).toEqual({ kind: 'refused', code });
      expect(pool.stats()).toMatchObject({ workers: 1, idle: 1, busy: 0 });
    },
  );

  test('goes to another worker when the one at hand takes no request', async () => {
    const pool = await host.warmPool();
    host.ring.postOutcome = 'lost';
    const held = host.invoke(pool, '/again');
    expect(host.ring.calls.slice(-2)).toEqual(['kill 0:1', 'fork 1:1']);
    host.ring.postOutcome = 'posted';
    host.ring.ready(1);
    host.drain();
    host.ring.answer(1);
    host.drain();
    await host.settle();
    expect(held.outcome?.kind).toBe('answer');
  });
});

test('An invocation goes to an idle worker when the one at hand takes no request', async () => {
  const pool = await host.warmPool({}, 2);
  host.ring.takesForks = false;
  const { post } = host.ring;
  host.ring.post = (slot, generation, request) => {
    host.ring.post = post;
    return slot === 0 ? post(slot, generation, request) : 'lost';
  };
  host.invoke(pool, '/again');
  expect(host.ring.calls.slice(-2)).toEqual(['kill 1:1', 'post 0:1 /again']);
  expect(pool.stats()).toMatchObject({ busy: 1, idle: 0, queued: 0 });
});

describe('A version whose workers die at start', () => {
  const failStart = (slot: number): void => {
    host.ring.report(slot, { kind: 'start_failed' });
    host.drain();
    host.exit(slot, 'exited', 40);
  };

  test('gives the fault to whoever waits, and is tried again ever more rarely', async () => {
    const pool = host.openPool();
    const warming = pool.warm(1);
    failStart(0);
    expect(await warming).toMatchObject({ ok: false, code: 'guest_start_failed' });
    const forks: number[] = [];
    for (let ms = 0; ms < 20_000; ms += 10) {
      await host.clock.advance(10);
      host.sweep();
      const [slot] = host.ring.alive.keys();
      if (slot === undefined) continue;
      forks.push(host.clock.monotonicMs());
      failStart(slot);
    }
    const gaps = forks.slice(1).map((at, index) => at - (forks[index] ?? 0));
    expect(forks.length).toBeGreaterThan(4);
    expect(forks.length).toBeLessThan(12);
    for (const [index, gap] of gaps.slice(1).entries()) expect(gap).toBeGreaterThanOrEqual(gaps[index] ?? 0);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(POOL_TUNING.workerRetryMsMax + 20);
  });

  test('answers at once with the fault until the next try', async () => {
    const pool = host.openPool();
    const first = host.invoke(pool);
    failStart(0);
    await host.settle();
    expect(first.outcome).toMatchObject({ kind: 'fault', code: 'guest_start_failed' });
    const second = host.invoke(pool);
    await host.settle();
    expect(second.outcome).toMatchObject({ kind: 'fault', code: 'guest_start_failed' });
    expect(host.ring.alive.size).toBe(0);
  });

  test.each([
    ['failed', 'guest_start_failed', ''],
    ['crashed', 'guest_start_failed', 'signal 11; '],
    ['late', 'execution_timeout', 'its start took too long; '],
  ] as const)('shows the last lines that a start has logged which %s', async (how, code, before) => {
    const lines = Array.from({ length: 8 }, (_, at) => ({ level: 2, text: `line ${at}` }));
    lines.push({ level: 4, text: `no\u001b[2J"table"\n${'x'.repeat(1_000)}` });
    host.ring.logsOf = (slot) => (slot === 0 ? { lines, dropped: 2 } : null);
    host.ring.hints = () => ({ isInGuest: true, isRecycling: false });
    const pool = host.openPool();
    const held = host.invoke(pool, '/', 60_000);
    if (how === 'failed') failStart(0);
    else if (how === 'crashed') host.exit(0, 'signalled', 11);
    await host.clock.advance(POOL_BOUNDS.workerStartMs);
    host.sweep();
    await host.settle();
    const shown = `"line 4", "line 5", "line 6", "line 7", "no\\u001b[2J\\"table\\"\\n${'x'.repeat(136)}"`;
    expect(held.outcome).toMatchObject({
      kind: 'fault',
      code,
      detail: `${before}it logged ${shown} and 6 more`,
    });
    const [line] = host.lines.filter((one) => one.includes('did not start'));
    expect(JSON.parse(line ?? '{}')).toMatchObject({
      function_id: 'fn_0',
      version: '1.0.0',
      while: 'starting',
    });
    expect(line).toContain('line 4');
  });

  test('is killed when its start takes too long', async () => {
    const pool = host.openPool();
    const held = host.invoke(pool, '/', 60_000);
    await host.clock.advance(POOL_BOUNDS.workerStartMs);
    host.sweep();
    await host.settle();
    expect(held.outcome).toMatchObject({ kind: 'fault', code: 'execution_timeout' });
    expect(host.ring.calls).toEqual(['fork 0:1', 'kill 0:1']);
  });
});

describe('Warming', () => {
  test('asks again when the engine process takes no packet, and gives up after its bound', async () => {
    host.ring.takesForks = false;
    const pool = host.openPool();
    const warming = pool.warm(1);
    host.sweep();
    await host.clock.advance(POOL_BOUNDS.warmMs);
    host.sweep();
    expect(await warming).toMatchObject({ ok: false, code: 'worker_lost' });
  });

  test('on a full node ends as soon as those are ready that have room, and says so', async () => {
    const other = await host.warmPool({}, 2);
    host.invoke(other, '/a', 60_000);
    host.invoke(other, '/b', 60_000);
    const pool = host.openPool({ workersMin: 3, workersMax: 3 });
    const outcomes: unknown[] = [];
    void pool.warm(3).then((outcome) => outcomes.push(outcome));
    host.sweep();
    await host.settle();
    expect([outcomes, pool.stats()]).toMatchObject([[], { workers: 1, starting: 1 }]);
    host.ring.ready(2);
    host.sweep();
    await host.settle();
    const detail = 'the node has room for 1 of its workers and no more';
    expect([outcomes, pool.stats().idle]).toEqual([[{ ok: false, code: 'worker_lost', detail }], 1]);
  });

  test('takes the place of an idle worker that another pool can do without', async () => {
    await host.warmPool({ workersMin: 0 }, 2);
    const pool = host.openPool({ workersMax: 2 });
    let isWarm = false;
    void pool.warm(2).then(({ ok }) => (isWarm = ok));
    host.ring.ready(2);
    host.sweep();
    host.exit(0);
    host.sweep();
    host.ring.ready(0);
    host.sweep();
    await host.settle();
    expect([isWarm, pool.stats().idle]).toEqual([true, 2]);
  });

  test('to fewer than there are is done at once', async () => {
    const pool = await host.warmPool();
    expect(await pool.warm(1)).toEqual({ ok: true });
    expect(host.ring.calls).toEqual(['fork 0:1']);
  });
});
