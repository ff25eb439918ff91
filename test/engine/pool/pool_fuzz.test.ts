// Any order of requests, answers, deaths and restarts: counts stay true, and each invocation ends once.
import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { WORKER_SLOTS } from '../../../src/engine/ring/geometry.ts';
import type { VersionPool } from '../../../src/engine/pool/version_pool.ts';
import type { RingEvent } from '../../../src/engine/ring/ring.ts';
import { createFakeRing, type FakeRing } from './fake_ring.ts';
import { createPoolHost, type PoolHost } from './pool_host.ts';

/** `EDGE_FUZZ_RUNS` asks for more than what every run of the tests does. */
const RUNS = Number(process.env['EDGE_FUZZ_RUNS'] ?? 2_000);
const LARGE = new Uint8Array(70_000);

type World = {
  host: PoolHost;
  pools: VersionPool[];
  /** How often each invocation has ended. */
  ends: { count: number }[];
  /** Slots whose request is being served, one per worker. */
  begun: Set<number>;
  starting: Set<number>;
  /** Workers whose exit has been seen, by place, until their place is free. */
  exited: Set<number>;
  /** Posts that no worker could serve. */
  misposts: string[];
};

type Step = { does: keyof typeof ACTIONS; a: number; b: number };

const pick = <T>(from: Iterable<T>, index: number): T | undefined => {
  const all = [...from];
  return all[index % Math.max(all.length, 1)];
};

/** A ring of which `begun` says what cannot be withdrawn any more. */
function openRing(world: World): void {
  const { host, begun, starting } = world;
  const ring = (host.ring = createFakeRing());
  const { fork, free } = ring;
  begun.clear();
  starting.clear();
  world.exited.clear();
  ring.hasBegun = (slot) => begun.has(slot);
  watchPosts(world, ring);
  ring.fork = (worker) => {
    const isTaken = fork(worker);
    if (isTaken) starting.add(worker.slot / WORKER_SLOTS);
    return isTaken;
  };
  ring.free = (slot) => {
    free(slot);
    world.exited.delete(slot / WORKER_SLOTS);
    starting.delete(slot / WORKER_SLOTS);
    for (let at = slot; at < slot + WORKER_SLOTS; at += 1) begun.delete(at);
  };
  host.table.attach(ring);
}

/** How many reports of a worker the pool has not read yet, by place. */
function countUnread(ring: FakeRing): (place: number) => number {
  const unread = new Map<number, number>();
  const add = (place: number, count: number): void =>
    void unread.set(place, (unread.get(place) ?? 0) + count);
  const { next, poll, report } = ring;
  const read = (event: RingEvent | null): RingEvent | null => {
    if (event !== null) add(Math.floor(event.slot / WORKER_SLOTS), -1);
    return event;
  };
  ring.report = (place, what, wake) => {
    add(place, 1);
    report(place, what, wake);
  };
  ring.next = () => read(next());
  ring.poll = (slot, generation) => read(poll(slot, generation));
  return (place) => unread.get(place) ?? 0;
}

/**
 * A post goes to a free slot of a worker that lives, in its own generation: to the first slot when the worker
 * has nothing to do, because all its slots are free then.
 */
function watchPosts({ exited, misposts }: World, ring: FakeRing): void {
  const { post } = ring;
  const unreadOf = countUnread(ring);
  ring.post = (slot, generation, request) => {
    const place = Math.floor(slot / WORKER_SLOTS);
    const taken = ring.posted.get(place);
    const hasNothing = taken?.length === 0 && unreadOf(place) === 0;
    const isFree = hasNothing ? slot === place * WORKER_SLOTS : taken?.includes(slot) === false;
    const isAlive = ring.alive.get(place) === generation && !exited.has(place);
    if (!isFree || !isAlive) misposts.push(`slot ${slot}, generation ${generation}`);
    return post(slot, generation, request);
  };
}

const ACTIONS = {
  invoke({ host, pools, ends }: World, a: number, b: number) {
    const end = { count: 0 };
    ends.push(end);
    const request = { requestId: 'r', method: 'GET', target: '/', headers: '' };
    const body = b % 10 === 0 ? LARGE : null;
    const deadlineMs = host.clock.monotonicMs() + 1 + (b % 60);
    void pick(pools, a)
      ?.invoke({ ...request, body }, deadlineMs)
      .then(() => (end.count += 1));
  },
  warm: ({ pools }: World, a: number, b: number) => void pick(pools, a)?.warm(1 + (b % 3)),
  start({ host, starting }: World, a: number, b: number) {
    const place = pick(starting, a);
    if (place === undefined || !starting.delete(place)) return;
    const isReady = b % 10 !== 0;
    const kind = isReady ? 'ready' : 'start_failed';
    host.ring.report(place, { kind, slot: place * WORKER_SLOTS }, b % 3 === 0 ? 'lost' : 'seen');
    host.drain();
  },
  begin({ host, begun }: World, a: number, b: number) {
    const slots = pick(host.ring.posted.values(), a) ?? [];
    const slot = pick(slots, b);
    if (slot !== undefined && !slots.some((one) => begun.has(one))) begun.add(slot);
  },
  answer({ host, begun }: World, a: number, b: number) {
    const slot = pick(begun, a);
    if (slot === undefined || !begun.delete(slot)) return;
    const place = Math.floor(slot / WORKER_SLOTS);
    const slots = host.ring.posted.get(place) ?? [];
    slots.splice(slots.indexOf(slot), 1);
    const kind = b % 40 === 0 ? 'broken' : 'answer';
    const cpuUs = b % 5 === 0 ? 90 : 1;
    host.ring.report(place, { kind, slot, cpuUs }, b % 3 === 0 ? 'lost' : 'seen');
    if (b % 2 === 0) host.drain();
  },
  exit({ host, exited }: World, a: number, b: number) {
    const place = pick(host.ring.alive.keys(), a);
    if (place === undefined) return;
    exited.add(place);
    host.exit(place, b % 2 === 0 ? 'signalled' : 'exited');
  },
  refuse({ host }: World, a: number) {
    const { post } = host.ring;
    host.ring.post = (slot, generation, request) => {
      host.ring.post = post;
      return a % 2 === 0 ? 'lost' : post(slot, generation, request);
    };
  },
  sweep: ({ host }: World, a: number) => host.sweep(a % 10 === 0 ? 5 : 1e9),
  /** No worker gets any time while the clock stands. */
  starve({ host }: World) {
    for (let sweeps = 0; sweeps < 12; sweeps += 1) host.sweep();
  },
  pass: ({ host }: World, a: number) => host.clock.advance(a % 8),
  restart(world: World, a: number) {
    world.host.table.detach();
    if (a % 2 === 0) world.host.sweep();
    openRing(world);
  },
};

const WEIGHTS: Record<Step['does'], number> = {
  invoke: 35,
  warm: 5,
  start: 15,
  begin: 15,
  answer: 20,
  exit: 3,
  refuse: 1,
  sweep: 12,
  starve: 2,
  pass: 6,
  restart: 1,
};
const step = fc.record({
  does: fc.oneof(
    ...Object.entries(WEIGHTS).map(([arbitrary, weight]) => ({
      arbitrary: fc.constant(arbitrary as Step['does']),
      weight,
    })),
  ),
  a: fc.nat(1_000),
  b: fc.nat(1_000),
});

function check({ host, misposts, pools }: World): void {
  expect(misposts).toEqual([]);
  const all = pools.map((pool) => pool.stats());
  for (const { workers, idle, busy, starting, queued } of all) {
    expect(workers).toBe(idle + busy + starting);
    expect(queued > 0 && idle > 0).toBe(false);
  }
  expect(host.counts().busy).toBe(all.reduce((sum, { busy }) => sum + busy, 0));
}

/** Every worker that was told to die does, and every deadline passes. */
async function finish(world: World): Promise<void> {
  const { host, pools } = world;
  const closing = pools.map((pool) => pool.close({ graceMs: 0 }));
  await host.settle();
  for (const place of host.ring.alive.keys()) host.exit(place);
  await host.clock.advance(3_000);
  await Promise.all(closing);
}

test('Pools over one table of workers', async () => {
  const limits = fc.record({ workersMax: fc.nat(2), workersMin: fc.nat(1), workersBusy: fc.nat(2) });
  const steps = fc.array(step, { minLength: 1, maxLength: 250, size: 'max' });
  await fc.assert(
    fc.asyncProperty(fc.tuple(limits, limits), steps, async (wanted, script) => {
      const host = createPoolHost();
      const pools = wanted.map(({ workersMax, workersMin, workersBusy }) =>
        host.openPool({ workersMax: workersMax + 1, workersMin, workersBusy, queueLengthMax: 10 }),
      );
      const world: World = {
        host,
        pools,
        ends: [],
        begun: new Set(),
        starting: new Set(),
        exited: new Set(),
        misposts: [],
      };
      host.table.detach();
      openRing(world);
      for (const { does, a, b } of script) {
        await ACTIONS[does](world, a, b);
        check(world);
      }
      await finish(world);
      expect(world.ends.filter(({ count }) => count !== 1)).toEqual([]);
      expect(host.counts()).toMatchObject({ workers: 0, busy: 0 });
    }),
    { numRuns: RUNS },
  );
}, 600_000);
