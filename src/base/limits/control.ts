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
  /** Uploads at one time: each holds an artifact on disk until it is checked, one after the other. */
  uploadsMax: 32,
  /** Uploads by presigned URLs at one time: the rest is left to admins. One URL takes one at a time. */
  uploadsByUrlMax: 24,
  /** Forms at one time: each is in memory as a whole. */
  uploadFormsMax: 8,
  /** Time from the first to the last byte of an upload. */
  uploadBodyMs: 300_000,
  /** Time that an upload may wait for its bytes: this, and as long as what came takes at the lowest rate. */
  uploadGraceMs: 10_000,
  uploadBytesPerSecondMin: 16 * 1024,
  /** Requests with an idempotency key at one time: each holds its body in memory. */
  idempotentInFlightMax: 256,
  idempotencyKeyLengthMax: 255,
  /** Answers that are kept under idempotency keys; the oldest go first. That of a deploy lists its nodes. */
  idempotencyRowsMax: 20_000,
  /** Transactions that wait while another process holds the lock of the database. */
  lockedTransactionsMax: 1_000,
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
  /** How long a transaction waits for a lock of another process, and how often it tries. */
  databaseBusyMs: 5_000,
  databaseRetryMs: 20,
  /** How long a starting process waits for its data directory: its predecessor may be about to exit. */
  claimMs: 500,
  /** Bound values per statement, far below the limit of every dialect. */
  idsPerQuery: 500,
  /** Targets of deployments kept compiled in memory. */
  targetsCompiledMax: 10_000,
} as const;

/** What keeps the stored artifacts whole. */
export const ARTIFACT_BOUNDS = {
  /** Damaged files that are kept for an operator; the oldest go first. */
  damagedFilesMax: 16,
  /** Orphaned files that are deleted in one pass. */
  dropsPerPassMax: 1_000,
  /** Artifacts of which it is remembered that they were whole a moment ago. */
  verifiedMax: 1_000,
} as const;

export const ARTIFACT_TUNING = {
  /** One step of the scrub ends after so many bytes, or folders and files: 40 MiB/min leave the disk to others. */
  scrubStepBytes: 32 * MIB,
  scrubStepItems: 256,
  scrubStepMs: 10_000,
  /** From the end of a pass over all artifacts to the next. */
  scrubPauseMs: 21_600_000,
  /** How long a file stays that no version names: an older copy of the database may be about to be replaced. */
  orphanGraceMs: 86_400_000,
  /** How long a file that was verified for one download is trusted for the next, while it does not change. */
  verifiedMs: 10_000,
} as const;
