// Bounds, defaults and tuning of what an edge and its control plane say to each other.

const MIB = 1024 * 1024;

/** Hard bounds on both sides. */
export const SYNC_BOUNDS = {
  /** The longest that a heartbeat is held: proxies cut connections that are silent for longer. */
  heartbeatHoldMs: 25_000,
  /** Body of a heartbeat. */
  heartbeatBytesMax: 8 * MIB,
  /** Answer to a heartbeat, and the desired state that a node stores. */
  answerBytesMax: 64 * MIB,
  /** A request of an edge to its control plane, beyond the time that it asks to be held. */
  controlRequestMs: 30_000,
  /** Download of one artifact. */
  pullMs: 60_000,
  /** Failed downloads after which a function is reported as `error`; it is tried again all the same. */
  pullAttemptsMax: 5,
  /** Functions of one node, in desired state, cache and report. */
  functionsMax: 10_000,
} as const;

export const SYNC_DEFAULTS = {
  heartbeatIntervalMs: 30_000,
} as const;

export const SYNC_TUNING = {
  /** A node that was silent for this long is offline. */
  nodeOfflineMs: 120_000,
  /** How often the control plane looks for silent nodes. */
  livenessStepMs: 5_000,
  /** When more than this share falls silent at once, the control plane suspects itself and marks none. */
  livenessBrakePercent: 55,
  /** The brake needs at least this many silent nodes. */
  livenessBrakeNodesMin: 3,
  /** A heartbeat that says nothing new is written to the database no more often than this. */
  heartbeatPersistMs: 10_000,
  /** The wait that a node is given when it comes back without the state that it was just sent. */
  heartbeatRepeatMs: 1_000,
  /** Least time between two heartbeats of a node: changes that come together are reported together. */
  heartbeatGapMs: 20,
  /** Backoff of an edge that does not reach its control plane (full jitter). */
  reconnectMsMin: 1_000,
  reconnectMsMax: 60_000,
  /** Backoff of a failed download. */
  pullDelayMsMin: 1_000,
  pullDelayMsMax: 60_000,
} as const;
