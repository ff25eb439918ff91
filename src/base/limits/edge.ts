// Bounds, defaults and tuning of what a node keeps and does beside answering requests.

const MIB = 1024 * 1024;

/** Hard bounds. */
export const EDGE_BOUNDS = {
  /** Damaged artifacts that are kept for whoever wants to know what happened to them. */
  quarantineFilesMax: 16,
  /** Log lines of requests, and of guests, that a node writes in one second; more are counted. */
  logLinesPerSecondMax: 500,
  /** Label sets of one metric; further ones share the series `__overflow__`. */
  metricSeriesMax: 1_000,
} as const;

export const EDGE_DEFAULTS = {
  cacheBytesMax: 10 * 1_024 * MIB,
  cacheEntriesMax: 10_000,
} as const;

export const EDGE_TUNING = {
  /** Functions that are brought to their desired state at the same time. */
  reconcileParallelMax: 8,
  /** Backoff of a function that could not be brought to its desired state. */
  reconcileDelayMsMin: 1_000,
  reconcileDelayMsMax: 60_000,
} as const;
