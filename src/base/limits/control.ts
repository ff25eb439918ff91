// Bounds, defaults and tuning of the control plane and its API.

const MIB = 1024 * 1024;

/** Hard bounds. */
export const CONTROL_BOUNDS = {
  /** Body of an ordinary API request. */
  jsonBodyBytesMax: 1 * MIB,
  /** Nesting of a JSON body: describing the schema errors of deep values takes seconds. */
  jsonDepthMax: 32,
  pageSizeMax: 200,
  /** Requests that are held until something moves: heartbeats and waits for deployments. */
  longPollsMax: 10_000,
  /** Uploads at one time; each may hold an artifact in memory while it is checked. */
  uploadsMax: 8,
  /** From the first to the last byte of an upload. */
  uploadBodyMs: 300_000,
  /** Requests with an idempotency key at one time: the body of each is in memory. */
  idempotentInFlightMax: 256,
  idempotencyKeyLengthMax: 255,
  joinTokenTtlMsMax: 604_800_000,
  nodesMax: 10_000,
  /** The longest that a client may wait for a deployment in one request. */
  deploymentWaitMsMax: 25_000,
} as const;

export const CONTROL_DEFAULTS = {
  pageSize: 50,
  joinTokenTtlMs: 3_600_000,
  uploadUrlTtlMs: 900_000,
} as const;

export const CONTROL_TUNING = {
  /** Answers under an idempotency key are kept for a day. */
  idempotencyTtlMs: 86_400_000,
  /** How often what has expired is deleted. */
  sweepMs: 600_000,
  /** How long a statement waits for a lock of the database. */
  databaseBusyMs: 5_000,
  /** How long a starting process waits for its data directory: the one before may be about to end. */
  claimMs: 500,
  /** Different sets of functions for which the desired state is kept in memory. */
  desiredSetsMax: 1_000,
} as const;
