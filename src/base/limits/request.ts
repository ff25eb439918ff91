// Bounds, defaults and tuning of one request and its answer, on an edge and in a worker.

const KIB = 1024;
const MIB = 1024 * KIB;

/** Hard bounds: a request that exceeds one is refused; an answer of a guest that does becomes a 500. */
export const REQUEST_BOUNDS = {
  /** Path and query; longer ones are refused with 414. */
  targetBytesMax: 8 * KIB,
  /** Larger heads are refused with 431, and by Bun itself above 64 KiB. */
  headersBytesMax: 32 * KIB,
  headersCountMax: 100,
  responseHeadersBytesMax: 32 * KIB,
  responseHeadersCountMax: 100,
  /** The buffer that `handle` gets for its response; larger answers use `response_write`. */
  responseCapBytes: 64 * KIB,
  /** Host calls of one request: each takes a little time of the worker outside the guest. */
  hostCallsMax: 10_000,
  /** Log lines of one request, and their bytes; further lines are counted and dropped. */
  logLinesMax: 100,
  logBytesMax: 64 * KIB,
  /** Time from the first to the last byte of a body, also when bytes keep coming. */
  bodyMs: 30_000,
  /** Request bodies that a node holds in memory at one time. */
  bodiesBytesMax: 256 * MIB,
  /** Part of that which one project may have: slow clients of one do not shut the others out. */
  bodiesShareMax: 0.25,
  /** Bun reads a refused body up to this size, so that the client sees the 413; no setting may be larger. */
  drainBytesMax: 40 * MIB,
  /** A connection without traffic for this long is closed. */
  connectionIdleMs: 60_000,
} as const;

export const REQUEST_DEFAULTS = {
  requestBytesMax: 10 * MIB,
  responseBytesMax: 10 * MIB,
  /** Quota of a project on one node. */
  concurrentPerProject: 100,
  invocationsPerMinute: 10_000,
  /** How long running requests may go on after SIGTERM. */
  drainMs: 10_000,
} as const;

export const REQUEST_TUNING = {
  /** Matches that the route table caches, and the longest URL whose match it caches. */
  routeCacheEntriesMax: 10_000,
  routeCacheKeyLengthMax: 512,
  /** How often a draining listener checks whether the last request is answered. */
  drainPollMs: 10,
  /** A draining listener is done when no request was under way for this long: clients may have sent one more. */
  drainQuietMs: 200,
} as const;
