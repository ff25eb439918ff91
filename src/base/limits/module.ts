// Bounds on an uploaded WebAssembly module and on its check.

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * Hard bounds of the parser, far above what compilers emit. Most exist because a few bytes can declare sizes
 * on which libwasmedge spends much memory or time.
 */
export const MODULE_BOUNDS = {
  functionsMax: 20_000,
  /** Locals of one function: 68 bytes declare 50 million, on which libwasmedge spends 1.7 GB. */
  localsMax: 50_000,
  /** Locals of all functions together: many large functions cost as much as one that is too large. */
  localsTotalMax: 5_000_000,
  /** Nesting of blocks: the compiler recurses once per level. */
  nestingMax: 1_000,
  /** Elements of one table: libwasmedge allocates a table at once, and one of 2^32 aborts the process. */
  tableElementsMax: 100_000,
  tablesMax: 16,
  typesMax: 20_000,
  importsMax: 1_000,
  exportsMax: 20_000,
  globalsMax: 20_000,
  /** Data segments, and element segments; the two are counted apart. */
  segmentsMax: 100_000,
  /** Items of all element segments together. */
  elementItemsMax: 1_000_000,
  /** Body of one function: compile time grows faster than its length. */
  functionBytesMax: 4 * MIB,
  /** Parameters of one type, and results of one type. */
  parametersMax: 1_000,
  /** Values above four that calls, blocks and branches move, summed up: wide types cost at every use. */
  arityExcessMax: 1_000_000,
  /** Blocks of all functions together. */
  blocksMax: 2_000_000,
  nameBytesMax: 1_024,
  customSectionsMax: 1_000,
  /** Imports, exports and sections that a report lists: it is stored with the version. */
  reportItemsMax: 100,
} as const;

/** Hard bounds of the check as a whole. */
export const CHECK_BOUNDS = {
  /** Wall time of a check in a child process; a module that needs longer is `module_too_complex`. */
  checkMs: 20_000,
  /** Answer of the child process. */
  answerBytesMax: 4 * MIB,
} as const;

export const CHECK_TUNING = {
  /** A module up to this size is checked in the calling process: starting a child would take longer. */
  inlineBytesMax: 32 * KIB,
} as const;
