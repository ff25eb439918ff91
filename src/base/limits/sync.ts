// Bounds, defaults and tuning of the protocol between an edge and its control plane.

const MIB = 1024 * 1024;

/** Hard bounds on both sides. */
export const SYNC_BOUNDS = {
  /** How long a heartbeat is held at most: proxies cut connections that are silent for longer. */
  heartbeatHoldMs: 25_000,
  /** Body of a heartbeat. */
  heartbeatBytesMax: 8 * MIB,
  /** Answer to a heartbeat, and the desired state that a node stores. */
  answerBytesMax: 64 * MIB,
  /** Time for a request of an edge to its control plane, beyond the time that it asks to be held. */
  controlRequestMs: 30_000,
  /** Time for the download of one artifact. */
  pullMs: 60_000,
  /** Failed downloads after which a function is reported as `error`; the edge keeps trying all the same. */
  pullAttemptsMax: 5,
  /** Functions of one node, in its desired state, its cache and its report. */
  functionsMax: 10_000,
} as const;

export const SYNC_DEFAULTS = {
  heartbeatIntervalMs: 30_000,
  /** A node that has been silent for this long is offline. */
  nodeOfflineMs: 120_000,
} as const;

export const SYNC_TUNING = {
  /** How often the control plane checks for silent nodes, and how often at least while one turns silent. */
  livenessStepMs: 5_000,
  livenessStepsMin: 8,
  /** Steps between two checks that count as silence: a control plane that was stopped has heard nobody. */
  listenGapSteps: 2,
  /** Nodes that one transaction marks as offline, and the pause before the next: each has an audit row. */
  livenessMarksMax: 20,
  livenessPauseMs: 10,
  /** If more than this share of the nodes is silent, none is marked: the control plane may be at fault. */
  livenessBrakePercent: 55,
  /** The brake needs at least this many silent nodes. */
  livenessBrakeNodesMin: 3,
  /** A wait for a deployment looks at its nodes again after a millisecond for each so many of them. */
  progressNodesPerMs: 10,
  /** Times that make a node silent after which the brake holds it no longer. */
  livenessBrakePeriods: 5,
  /** Time between two writes of the figures of a node; what changes its state is written at once. */
  heartbeatPersistMs: 60_000,
  /** Wait of a node that returns without having accepted the state that it was just sent. */
  heartbeatRepeatMs: 1_000,
  /** Pause of the control plane after its disk has refused the mark of the epoch. */
  epochMarkRetryMs: 1_000,
  /** Answers in a row that a node refuses as those of a stranger before it joins again. */
  joinAgainRefusals: 3,
  /** Shortest time between two heartbeats of a node: changes close together are reported together. */
  heartbeatGapMs: 20,
  /** Backoff, with full jitter, of an edge that does not reach its control plane. */
  reconnectMsMin: 1_000,
  reconnectMsMax: 60_000,
  /** Backoff after a failed download. */
  pullDelayMsMin: 1_000,
  pullDelayMsMax: 60_000,
} as const;
