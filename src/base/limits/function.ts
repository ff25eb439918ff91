// Bounds and defaults of functions, their versions, artifacts and routes.

const KIB = 1024;
const MIB = 1024 * KIB;

/** Hard bounds: a request that exceeds one is refused. */
export const FUNCTION_BOUNDS = {
  /** Checked while the bytes arrive. */
  artifactBytesMax: 32 * MIB,
  /** 256 MiB of linear memory, in pages of 64 KiB. */
  memoryPagesMax: 4_096,
  executionMsMax: 30_000,
  /** Names of functions, projects, nodes and pops: one DNS label. */
  nameLengthMax: 63,
  envEntriesMax: 64,
  /** Length of `env` as JSON: it is part of every start block and every desired state. */
  envBytesMax: 32 * KIB,
  selectorLengthMax: 1_000,
  /** Nodes of a selector's syntax tree, and items of a list in the selector. */
  selectorNodesMax: 500,
  selectorDepthMax: 32,
  labelsMax: 64,
  /** Pops that one deployment names. */
  targetPopsMax: 1_000,
  routesPerFunctionMax: 64,
  versionsPerFunctionMax: 1_000,
  /** Requests that one instance may serve with `isolation: reuse`; it is the default as well. */
  reuseRequestsMax: 100_000,
} as const;

/** The settings of a version whose author sets none. */
export const FUNCTION_DEFAULTS = {
  /** 16 MiB of linear memory, in pages of 64 KiB. */
  memoryPages: 256,
  executionMs: 500,
} as const;
