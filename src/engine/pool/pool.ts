// All pools of a node over the one table of its workers, and the sweep that keeps both on time.
import { availableParallelism } from 'node:os';
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { VersionSettings } from '../../model/function.ts';
import type { Pool, VersionRef } from '../engine.ts';
import type { ProcessExit } from '../ring/process_exit.ts';
import type { Ring } from '../ring/ring.ts';
import { encodeStartBlock, type ModuleFacts } from './start_block.ts';
import { createSweep } from './sweep.ts';
import { type PoolLimits, VersionPool } from './version_pool.ts';
import { type WorkerCounts, type WorkerName, WorkerTable } from './worker_table.ts';

export type PoolsLimits = {
  /** Workers of all pools. */
  workers: number;
  poolWorkersMin: number;
  poolWorkersMax: number;
  queueLengthMax: number;
  workerIdleMs: number;
};

export type Pools = {
  /** `codeFd` stays the caller's, who closes it after the pool. */
  open(input: { ref: VersionRef; settings: VersionSettings; codeFd: number; facts: ModuleFacts }): Pool;
  /** The engine process serves. */
  attach(ring: Ring): void;
  /** The engine process died: what its workers had ends as `engine_restarting`, the queues stay. */
  detach(): void;
  started(worker: WorkerName & { pid: number }): void;
  exited(worker: WorkerName & { pid: number; exit: ProcessExit }): void;
  /** A worker sent a wake-up. */
  woke(slot: number, generation: number): void;
  /** Workers have finished something. */
  drain(): void;
  counts(): WorkerCounts;
  /** Ends every worker. */
  close(): Promise<void>;
};

/** While some of the workers run, the others have answered and wait for the edge. */
const WORKERS_PER_PROCESSOR = 3;

export function createPools(options: {
  limits: PoolsLimits;
  clock: Clock;
  log: Log;
  /** In [0, 1), for jitter. */
  random: () => number;
}): Pools {
  const { clock, limits, log, random } = options;
  const table = new WorkerTable({ places: limits.workers, clock, log });
  const pools = new Set<VersionPool>();
  const sweep = createSweep(() => {
    let isActive = table.sweep(limits.workerIdleMs);
    const nowMs = clock.monotonicMs();
    for (const pool of pools) isActive = pool.tick(nowMs) || isActive;
    return isActive;
  });
  const poolLimits: PoolLimits = {
    workersMin: limits.poolWorkersMin,
    workersMax: Math.min(limits.poolWorkersMax, limits.workers),
    queueLengthMax: limits.queueLengthMax,
    workersBusy: availableParallelism() * WORKERS_PER_PROCESSOR,
  };
  return {
    open({ ref, settings, codeFd, facts }) {
      const pool = new VersionPool({
        ref,
        settings,
        codeFd,
        startBlock: encodeStartBlock(settings, facts),
        table,
        limits: poolLimits,
        clock,
        log,
        random,
        arm: () => sweep.arm(),
        closed: (closed) => void pools.delete(closed),
      });
      pools.add(pool);
      return pool;
    },
    attach(ring) {
      table.attach(ring);
      sweep.arm();
    },
    detach() {
      table.detach();
      sweep.arm();
    },
    started: (worker) => table.started(worker),
    exited: (worker) => table.exited(worker),
    woke: (slot, generation) => table.woke(slot, generation),
    drain: () => table.drain(),
    counts: () => table.counts(),
    async close() {
      await Promise.all([...pools].map((pool) => pool.close({ graceMs: 0 })));
      sweep.close();
    },
  };
}
