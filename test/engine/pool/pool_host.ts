// Pools and a roster over workers of a test: nothing runs, time stands still, and everything is told by hand.
import { createManualClock, type ManualClock } from '../../../src/base/clock.ts';
import { createLog } from '../../../src/base/log.ts';
import { EVENT, HOW } from '../../../src/engine/process/frames.ts';
import { WORKER_SLOTS } from '../../../src/engine/ring/geometry.ts';
import { type PoolLimits, VersionPool } from '../../../src/engine/pool/pool.ts';
import { Roster } from '../../../src/engine/pool/roster.ts';
import { defaultVersionSettings } from '../../../src/model/function.ts';
import type { InvocationOutcome } from '../../../src/model/invocation.ts';
import { createFakeRing, type FakeRing } from './fake_ring.ts';

export const WORKERS = 3;

export type Held = { outcome: InvocationOutcome | null };

export type PoolHost = {
  readonly clock: ManualClock;
  readonly roster: Roster;
  /** Replaced by a test that restarts the engine process. */
  ring: FakeRing;
  openPool(limits?: Partial<PoolLimits>): VersionPool;
  /** A pool with so many idle workers, one unless told otherwise. */
  warmPool(limits?: Partial<PoolLimits>, count?: number): Promise<VersionPool>;
  /** One turn of the sweep. */
  sweep(idleMsMax?: number): void;
  /** The worker ends by itself, by SIGKILL unless told otherwise. */
  exit(place: number, how?: number, value?: number): void;
  invoke(pool: VersionPool, path?: string, ms?: number): Held;
  /** Lets promises that are settled run on. */
  settle(): Promise<void>;
};

export function createPoolHost(): PoolHost {
  const clock = createManualClock(1_000);
  const log = createLog({ clock, write: () => undefined });
  const roster = new Roster({ workers: WORKERS, clock, log });
  const pools: VersionPool[] = [];
  const host: PoolHost = {
    clock,
    roster,
    ring: createFakeRing(WORKERS),
    openPool(limits = {}) {
      const pool = new VersionPool({
        ref: { functionId: `fn_${pools.length}`, projectId: 'p', version: '1.0.0' },
        settings: { ...defaultVersionSettings, max_execution_ms: 500 },
        codeFd: 9,
        startBlock: new Uint8Array(4),
        limits: { workersMin: 1, workersMax: 2, queueLengthMax: 2, workersBusy: 2, ...limits },
        ...{ roster, clock, log },
        random: () => 1,
        stir: () => undefined,
        closed: () => undefined,
      });
      pools.push(pool);
      return pool;
    },
    async warmPool(limits, count = 1) {
      const pool = host.openPool(limits);
      const before = new Set(host.ring.alive.keys());
      void pool.warm(count);
      for (const place of host.ring.alive.keys()) if (!before.has(place)) host.ring.ready(place);
      host.sweep();
      await host.settle();
      return pool;
    },
    sweep(idleMsMax = 1e9) {
      roster.sweep(idleMsMax);
      for (const pool of pools) pool.tick(clock.monotonicMs());
    },
    exit(place, how = HOW.signalled, value = 9) {
      const generation = host.ring.alive.get(place) ?? 0;
      const slot = place * WORKER_SLOTS;
      roster.onEvent({ kind: EVENT.exited, slot, generation, pid: 1, how, value, maxRssKb: 0, cpuMs: 0 });
    },
    invoke(pool, path = '/', ms = 500) {
      const held: Held = { outcome: null };
      const request = { requestId: 'r', method: 'GET', path, headers: '', body: null };
      void pool.invoke(request, clock.monotonicMs() + ms).then((outcome) => {
        held.outcome = outcome;
      });
      return held;
    },
    settle: () => clock.advance(0),
  };
  roster.attach(host.ring);
  return host;
}
