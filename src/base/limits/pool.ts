// Bounds, defaults and tuning of workers and of the pools that they form.

const MIB = 1024 * 1024;

/** Hard bounds of one worker process. */
export const POOL_BOUNDS = {
  /** Workers that the ring has room for (`EDGE_WORKERS_MAX` in native/ring.h). */
  nodeWorkersMax: 1_024,
  /** Native stack; deeper recursion is `guest_stack_exhausted`. */
  workerStackBytes: 64 * MIB,
  /** RLIMIT_DATA beyond what the worker starts with and its linear memory. */
  workerOverheadBytes: 192 * MIB,
  /** Time to start a worker; a longer execution limit of the version replaces it. */
  workerStartMs: 2_000,
  /** Lines, and characters of each, that the fault of a failed start shows of what its guest has logged. */
  startLogLinesMax: 5,
  startLogLineLengthMax: 150,
  /** Time until a warm-up gives up, also when workers keep failing. */
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

/** Chosen by measurement; they change speed, not what a request may do. */
export const POOL_TUNING = {
  /** How often the sweep enforces deadlines while anything runs: a deadline is late by up to this much. */
  sweepIntervalMs: 4,
  /** The same while nothing runs; also how long the sweep stays fast after the last event. */
  sweepIdleMs: 1_000,
  /** How often the processor time of a worker is compared with the time in which it had something to do. */
  idleWatchMs: 100,
  /** Processor time per comparison that an idle worker may use: the clocks of sweep and kernel differ. */
  idleCpuMs: 10,
  /** Comparisons in a row above that after which a worker is killed. */
  idleWatchesBurned: 3,
  /** Wake-ups that a worker may send beyond what it reports, and the credit that reports give it. */
  wakesAheadMax: 64,
  /**
   * Pause of a version after one of its workers misbehaved; it doubles up to the maximum. Until such a worker is
   * killed it takes processor time from its neighbours, and a request starts the next one.
   */
  misbehavedMsMin: 10_000,
  misbehavedMsMax: 300_000,
  /** A queue whose oldest request is younger than this is moving; it gets no new worker. */
  queueMovesMs: 2,
  /** The same where the workers keep every processor busy: an older queue waits for something else. */
  queueStandsMs: 10,
  /** Pause after a worker died while it started; it doubles up to the maximum. */
  workerRetryMsMin: 100,
  workerRetryMsMax: 5_000,
} as const;
