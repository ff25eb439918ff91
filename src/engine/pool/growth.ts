// When the queue of a pool asks for more workers: a matter of how long it has waited, and whether it moves.
import { POOL_TUNING } from '../../base/limits/pool.ts';

/** `oldestMs` is when the first of the queue began to wait; null when nothing waits. */
export type Demand = { queued: number; oldestMs: number | null; starting: number; workers: number };

export type Growth = {
  answered(): void;
  /** One look of the sweep at the pool. */
  look(demand: Demand): void;
  /** Workers are being started for this demand: whether it stands is a new question. */
  started(): void;
  /** How many workers to start now. */
  missing(demand: Demand, nowMs: number): number;
};

/** Looks of the sweep after which a queue stands. */
const STANDING_LOOKS = 5;

/**
 * A queue that moves needs no more workers: they would only take the processors from each other. A slow
 * one gets up to `workersBusy`, as many as keep the processors busy; one that stands doubles its workers,
 * since its guests wait for something. Looks are counted and not time: while this process itself has to
 * wait, nobody is answered.
 */
export function createGrowth({ workersBusy }: { workersBusy: number }): Growth {
  /** Since the workers last answered one request each: how many answers, and how many looks. */
  let answers = 0;
  let looks = 0;
  return {
    answered() {
      answers += 1;
    },
    look({ queued, workers }) {
      const isMoving = queued === 0 || answers >= workers;
      if (isMoving) answers = 0;
      looks = isMoving ? 0 : looks + 1;
    },
    started() {
      looks = 0;
    },
    missing({ queued, oldestMs, starting, workers }, nowMs) {
      if (oldestMs === null) return 0;
      const unserved = queued - starting;
      if (workers === 0) return Math.min(unserved, 1);
      const isParallel = workers < workersBusy;
      const patienceMs = isParallel ? POOL_TUNING.queueMovesMs : POOL_TUNING.queueStandsMs;
      const isPatient = nowMs - oldestMs < patienceMs || (!isParallel && looks < STANDING_LOOKS);
      return isPatient ? 0 : Math.min(unserved, workers);
    },
  };
}
