// Pools over workers of a test: no process runs, the clock is turned by hand, workers report when told to.
import { createManualClock, type ManualClock } from '../../../src/base/clock.ts';
import { createLog } from '../../../src/base/log.ts';
import { type PoolLimits, VersionPool } from '../../../src/engine/pool/version_pool.ts';
import { type WorkerCounts, WorkerTable } from '../../../src/engine/pool/worker_table.ts';
import type { ProcessExit } from '../../../src/engine/ring/process_exit.ts';
import { WORKER_SLOTS } from '../../../src/engine/ring/geometry.ts';
import { defaultVersionSettings } from '../../../src/model/function.ts';
import type { InvocationOutcome } from '../../../src/model/invocation.ts';
import { createFakeRing, type FakeRing } from './fake_ring.ts';

export const WORKERS = 3;

export type Held = { outcome: InvocationOutcome | null };

export type PoolHost = {
  readonly clock: ManualClock;
  /** The log so far, as JSON lines. */
  readonly lines: string[];
  readonly table: WorkerTable;
  /** Replaced by a test that restarts the engine process. */
  ring: FakeRing;
  openPool(limits?: Partial<PoolLimits>): VersionPool;
  /** A pool with so many idle workers. */
  warmPool(limits?: Partial<PoolLimits>, count?: number): Promise<VersionPool>;
  /** Takes what workers have reported. */
  drain(): void;
  /** One turn of the sweep. */
  sweep(idleMsMax?: number): void;
  /** The worker ends by itself, by SIGKILL unless the test says otherwise. */
  exit(place: number, how?: ProcessExit['how'], value?: number): void;
  invoke(pool: VersionPool, path?: string, ms?: number): Held;
  counts(): WorkerCounts;
  /** Lets promises that are settled run on. */
  settle(): Promise<void>;
};

export function createPoolHost(): PoolHost {
  const clock = createManualClock(1_000);
  const lines: string[] = [];
  const log = createLog({ clock, write: (line) => void lines.push(line) });
  const table = new WorkerTable({ places: WORKERS, clock, log });
  const pools: VersionPool[] = [];
  const host: PoolHost = {
    clock,
    lines,
    table,
    ring: createFakeRing(),
    openPool(limits = {}) {
      const pool = new VersionPool({
        ref: { functionId: `fn_${pools.length}`, projectId: 'p', version: '1.0.0' },
        settings: { ...defaultVersionSettings, max_execution_ms: 500 },
        codeFd: 9,
        startBlock: new Uint8Array(4),
        limits: { workersMin: 1, workersMax: 2, queueLengthMax: 2, workersBusy: 2, ...limits },
        table,
        clock,
        log,
        random: () => 1,
        arm: () => undefined,
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
    drain: () => table.drain(),
    sweep(idleMsMax = 1e9) {
      table.sweep(idleMsMax);
      for (const pool of pools) pool.tick(clock.monotonicMs());
    },
    exit(place, how = 'signalled', value = 9) {
      const generation = host.ring.alive.get(place) ?? 0;
      table.exited({ slot: place * WORKER_SLOTS, generation, pid: 1, exit: { how, value } });
    },
    invoke(pool, target = '/', ms = 500) {
      const held: Held = { outcome: null };
      const request = { requestId: 'r', method: 'GET', target, headers: '', body: null };
      void pool.invoke(request, clock.monotonicMs() + ms).then((outcome) => {
        held.outcome = outcome;
      });
      return held;
    },
    counts: () => table.counts(),
    settle: () => clock.advance(0),
  };
  table.attach(host.ring);
  return host;
}
