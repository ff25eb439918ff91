// Bounds and defaults of functions, their versions, artifacts and routes.

const KIB = 1024;
const MIB = 1024 * KIB;

/** Hard bounds: a request that passes one is refused. */
export const FUNCTION_BOUNDS = {
  /** Enforced while the bytes arrive. */
  artifactBytesMax: 32 * MIB,
  /** 256 MiB of linear memory. */
  memoryPagesMax: 4_096,
  executionMsMax: 30_000,
  /** Names of functions, projects, nodes and pops: one DNS label. */
  nameLengthMax: 63,
  envEntriesMax: 64,
  /** Of `env` as JSON: it travels in every start block and every desired state. */
  envBytesMax: 32 * KIB,
  selectorLengthMax: 1_000,
  /** Nodes of a selector's syntax tree, and items of a list in it. */
  selectorNodesMax: 500,
  selectorDepthMax: 32,
  labelsMax: 64,
  routesPerFunctionMax: 64,
  versionsPerFunctionMax: 1_000,
  /** Requests that one instance may serve with `isolation: reuse`; also the default. */
  reuseRequestsMax: 100_000,
} as const;

/** What a version has when its author sets nothing. */
export const FUNCTION_DEFAULTS = {
  /** 16 MiB of linear memory. */
  memoryPages: 256,
  executionMs: 500,
} as const;
