// Bounds, defaults and tuning of what a node keeps and does besides answering requests.

const MIB = 1024 * 1024;

/** Hard bounds. */
export const EDGE_BOUNDS = {
  /** Damaged artifacts that a node keeps for inspection; above it the oldest are deleted. */
  quarantineFilesMax: 16,
  /** Log lines that a node writes in one second, of requests and of guests each; more are only counted. */
  logLinesPerSecondMax: 500,
  /** Of these, lines of one project in one second that pass although others have taken all. */
  logLinesOfQuietMax: 20,
  /** Label sets of one metric; new ones beyond it share the series `__overflow__`. */
  metricSeriesMax: 1_000,
} as const;

export const EDGE_DEFAULTS = {
  cacheBytesMax: 10 * 1_024 * MIB,
  cacheEntriesMax: 10_000,
} as const;

export const EDGE_TUNING = {
  /** Functions that a node reconciles at the same time. */
  reconcileParallelMax: 8,
  /** Backoff after a function could not be brought to its desired state. */
  reconcileDelayMsMin: 1_000,
  reconcileDelayMsMax: 60_000,
  /** A version that fails this often in a row with the same fault of its own is not tried again. */
  sameFaultsMax: 3,
  /** Backoff before a version whose compile failed for want of memory, time or disk is compiled again. */
  recompileDelayMsMin: 10_000,
  recompileDelayMsMax: 10 * 60_000,
  /** Between two tries to write the index of the artifact cache that failed. */
  cacheIndexRetryMs: 5_000,
  /** Versions that a node pulls and compiles again at the same time, beside its other steps. */
  recompileParallelMax: 2,
  /** Tries after the first; then the version stays in the interpreter until it is brought up anew. */
  recompilesMax: 12,
} as const;
