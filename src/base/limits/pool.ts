// Bounds, defaults and tuning of workers and the pools that they form.

const MIB = 1024 * 1024;

/** Hard bounds of one worker process. */
export const POOL_BOUNDS = {
  /** What the ring has room for (`EDGE_WORKERS_MAX` in native/ring.h). */
  nodeWorkersMax: 1_024,
  /** The native stack; recursion beyond it is `guest_stack_exhausted`. */
  workerStackBytes: 64 * MIB,
  /** RLIMIT_DATA beyond what the worker has at its start and its linear memory. */
  workerOverheadBytes: 192 * MIB,
  /** Start of a worker, for versions whose execution limit is shorter. */
  workerStartMs: 2_000,
  /** A warm-up ends after this, also where workers keep failing. */
  warmMs: 15_000,
} as const;

export const POOL_DEFAULTS = {
  /** Workers that warming starts and that an idle pool keeps. */
  workersMin: 1,
  workersMax: 10,
  /** Workers of all versions on one node. */
  nodeWorkersMax: 128,
  queueLengthMax: 256,
  /** Workers above the minimum exit after this long without a request. */
  workerIdleMs: 300_000,
} as const;

/** Chosen by measurement; each changes speed, none changes what a request may do. */
export const POOL_TUNING = {
  /** How often deadlines are enforced while anything runs: the error of a deadline. */
  sweepIntervalMs: 4,
  /** The same while nothing runs; also how long the fast sweep goes on after the last event. */
  sweepIdleMs: 1_000,
  /** A queue younger than this is moving; it gets no new worker. */
  queueMovesMs: 2,
  /** A queue older than this stands: its guests wait for something else than a processor. */
  queueStandsMs: 10,
  /** Pause after a worker that died at its start; it doubles up to the maximum. */
  workerRetryMsMin: 100,
  workerRetryMsMax: 5_000,
} as const;
