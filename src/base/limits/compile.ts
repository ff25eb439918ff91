// Bounds on the compilation of a module and on the compiled files that a node keeps.

const MIB = 1024 * 1024;

/** Hard bounds: a module that passes one runs in the interpreter. */
export const COMPILE_BOUNDS = {
  /** Wall clock of one compile child. */
  compileMs: 30_000,
  /** RLIMIT_CPU of the child. */
  cpuSeconds: 30,
  /** RLIMIT_DATA of the child beyond what it starts with. */
  memoryBytes: 1_024 * MIB,
  /** Compiles that may wait; more are refused with `overloaded`. */
  queueLengthMax: 10_000,
  /** Size of one compiled file. */
  fileBytesMax: 512 * MIB,
} as const;

export const COMPILE_DEFAULTS = {
  /** All compiled files of a node; the least recently used go first. */
  cacheBytesMax: 2_560 * MIB,
} as const;
