// When the queue of a pool asks for more workers: how long it has waited, and whether it moves.
import { POOL_TUNING } from '../../base/limits/pool.ts';

/** `oldestMs` is when the first of the queue began to wait; null when nothing waits. */
export type Demand = { queued: number; oldestMs: number | null; starting: number; workers: number };

export type Growth = {
  answered(): void;
  /** Once per sweep. */
  tick(demand: Demand): void;
  /** Workers are being started for this demand: whether the queue stands is a new question. */
  started(): void;
  /** How many workers to start at once. */
  missing(demand: Demand, nowMs: number): number;
};

/** A queue stands after this many sweeps in which the workers answered less than one request each. */
const STANDING_SWEEPS = 5;

/**
 * A queue that moves gets no worker: one more would only take processor time from the others. A slow queue
 * gets up to `workersBusy`, as many as keep the processors busy. A queue that stands doubles its workers: its
 * guests wait for something else than a processor. Sweeps are counted rather than time, because nobody is
 * answered while the edge itself gets no time.
 */
export function createGrowth({ workersBusy }: { workersBusy: number }): Growth {
  /** Since the workers last answered one request each. */
  let answers = 0;
  let sweeps = 0;
  return {
    answered() {
      answers += 1;
    },
    tick({ queued, workers }) {
      const isMoving = queued === 0 || answers >= workers;
      if (isMoving) answers = 0;
      sweeps = isMoving ? 0 : sweeps + 1;
    },
    started() {
      sweeps = 0;
    },
    missing({ queued, oldestMs, starting, workers }, nowMs) {
      if (oldestMs === null) return 0;
      const unserved = queued - starting;
      if (workers === 0) return Math.min(unserved, 1);
      const isParallel = workers < workersBusy;
      const patienceMs = isParallel ? POOL_TUNING.queueMovesMs : POOL_TUNING.queueStandsMs;
      const isPatient = nowMs - oldestMs < patienceMs || (!isParallel && sweeps < STANDING_SWEEPS);
      return isPatient ? 0 : Math.min(unserved, workers);
    },
  };
}
