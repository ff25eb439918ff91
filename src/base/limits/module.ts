// Bounds on an uploaded WebAssembly module and on the time that its check may take.

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * Hard bounds of the parser. Most exist because libwasmedge spends memory or time on a few bytes that declare
 * much; all are far above what compilers emit.
 */
export const MODULE_BOUNDS = {
  /** Spec 1.3. */
  functionsMax: 20_000,
  /** Locals of one function: libwasmedge spends 1.7 GB on 50 million of them, which take 68 bytes. */
  localsMax: 50_000,
  /** Locals of all functions: many functions of the largest size are refused too. */
  localsTotalMax: 5_000_000,
  /** Depth of blocks: the compiler recurses over them. */
  nestingMax: 1_000,
  /** Elements of one table: a table is allocated at once, and one of 2^32 aborts the process. */
  tableElementsMax: 100_000,
  tablesMax: 16,
  typesMax: 20_000,
  importsMax: 1_000,
  exportsMax: 20_000,
  globalsMax: 20_000,
  /** Data and element segments, each kind counted apart. */
  segmentsMax: 100_000,
  /** Items of all element segments. */
  elementItemsMax: 1_000_000,
  /** Body of one function: the compiler's time grows faster than its length. */
  functionBytesMax: 4 * MIB,
  /** Parameters, and results, of one type. */
  parametersMax: 1_000,
  /** Values beyond four that each call, block and branch moves, summed: wide types cost at every use. */
  arityExcessMax: 1_000_000,
  /** Blocks of all functions. */
  blocksMax: 2_000_000,
  nameBytesMax: 1_024,
  customSectionsMax: 1_000,
  /** Imports and exports that a report lists: it is stored with the version. */
  reportItemsMax: 100,
} as const;

/** Hard bounds of the check as a whole. */
export const CHECK_BOUNDS = {
  /** Wall clock of a check in its child process; a module that needs longer is `module_too_complex`. */
  checkMs: 20_000,
  /** Bytes that the child may answer with. */
  answerBytesMax: 4 * MIB,
} as const;

export const CHECK_TUNING = {
  /** A module up to this size is checked in the calling process: it takes less than starting a child. */
  inlineBytesMax: 32 * KIB,
} as const;
