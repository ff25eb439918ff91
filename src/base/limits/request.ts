// Bounds on one request and its answer, on an edge and in a worker.

const KIB = 1024;
const MIB = 1024 * KIB;

/** Hard bounds: a request is refused, an answer of a guest becomes a 500. */
export const REQUEST_BOUNDS = {
  /** 414 above it. */
  targetBytesMax: 8 * KIB,
  /** 431 above it; Bun itself refuses heads above 64 KiB. */
  headersBytesMax: 32 * KIB,
  headersCountMax: 100,
  responseHeadersBytesMax: 32 * KIB,
  responseHeadersCountMax: 100,
  /** The buffer that `handle` gets for its response; larger answers go through `response_write`. */
  responseCapBytes: 64 * KIB,
  /** Host calls of one request: each costs the worker a little that no clock of the guest's shows. */
  hostCallsMax: 10_000,
  /** Log lines of one request, and their bytes: further lines are counted, not kept. */
  logLinesMax: 100,
  logBytesMax: 64 * KIB,
  /** From the first to the last byte of a body, however steadily bytes trickle in. */
  bodyMs: 30_000,
  /** Bodies that a node holds at one time. */
  bodiesBytesMax: 256 * MIB,
  /** Bun reads a refused body up to here, so that its client sees the 413; also the largest setting. */
  drainBytesMax: 40 * MIB,
  /** A connection without a byte for so long is closed. */
  connectionIdleMs: 60_000,
} as const;

export const REQUEST_DEFAULTS = {
  requestBytesMax: 10 * MIB,
  responseBytesMax: 10 * MIB,
  /** Quota of a project on one node. */
  concurrentPerProject: 100,
  invocationsPerMinute: 10_000,
  /** Running requests may go on for so long after SIGTERM. */
  drainMs: 10_000,
} as const;

export const REQUEST_TUNING = {
  /** Matches that the route table remembers, and the longest URL that it remembers one for. */
  routeCacheEntriesMax: 10_000,
  routeCacheKeyLengthMax: 512,
  /** How often a draining listener asks whether the last request was answered. */
  drainPollMs: 20,
} as const;
