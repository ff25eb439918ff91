// Bounds, defaults and tuning of the control plane and its API.

const MIB = 1024 * 1024;

/** Hard bounds. */
export const CONTROL_BOUNDS = {
  /** Body of an ordinary API request. */
  jsonBodyBytesMax: MIB,
  /** Nesting of a JSON body: listing the schema errors of deep values takes seconds. */
  jsonDepthMax: 32,
  pageSizeMax: 200,
  /** Requests that are held until something changes: heartbeats and waits for deployments. */
  longPollsMax: 10_000,
  /** Uploads at one time: each may hold an artifact in memory while it is checked. */
  uploadsMax: 8,
  /** Time from the first to the last byte of an upload. */
  uploadBodyMs: 300_000,
  /** Requests with an idempotency key at one time: each holds its body in memory. */
  idempotentInFlightMax: 256,
  idempotencyKeyLengthMax: 255,
  /** Answers that are kept under idempotency keys; the oldest go first. That of a deploy lists its nodes. */
  idempotencyRowsMax: 20_000,
  joinTokenTtlMsMax: 604_800_000,
  nodesMax: 10_000,
  /** Epochs that a database remembers: each is a restored backup, or a rebase that needed one. */
  epochsMax: 1_000,
  /** Active deployments of one function: each costs an evaluation per node. */
  activeDeploymentsMax: 64,
  /** How long one request may wait for a deployment. */
  deploymentWaitMsMax: 25_000,
} as const;

export const CONTROL_DEFAULTS = {
  pageSize: 50,
  joinTokenTtlMs: 3_600_000,
  uploadUrlTtlMs: 900_000,
} as const;

export const CONTROL_TUNING = {
  /** How long the answer to a request with an idempotency key is kept: one day. */
  idempotencyTtlMs: 86_400_000,
  /** How often expired rows are deleted. */
  sweepMs: 60_000,
  /** Rows that one transaction deletes at most, and the pause before the next. */
  sweepRows: 500,
  sweepPauseMs: 10,
  /** How long a statement waits for a lock of the database. */
  databaseBusyMs: 5_000,
  /** How long a starting process waits for its data directory: its predecessor may be about to exit. */
  claimMs: 500,
  /** Bound values per statement, far below the limit of every dialect. */
  idsPerQuery: 500,
  /** Targets of deployments kept compiled in memory. */
  targetsCompiledMax: 10_000,
} as const;
