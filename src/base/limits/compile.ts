// Bounds on compiling a module and on the compiled files that a node keeps.

const MIB = 1024 * 1024;

/** Hard bounds: a module that exceeds one runs in the interpreter. */
export const COMPILE_BOUNDS = {
  /** Wall time of one compile process; well above its processor time, so that only a busy node reaches it. */
  compileMs: 60_000,
  /** RLIMIT_CPU of the process. */
  cpuSeconds: 30,
  /** RLIMIT_DATA of the process beyond what it starts with. */
  memoryBytes: 1_024 * MIB,
  /** The same for the second attempt, after LLVM has aborted as it does for want of memory. */
  memoryBytesLarge: 2_048 * MIB,
  /** Tries of one module that LLVM aborts; then the module is at fault, until the edge starts again. */
  abortsMax: 5,
  /** Nothing compiles a module again for this long after its first abort; the pause doubles with each. */
  abortPauseMs: 5_000,
  /** Modules whose aborts are counted at the same time. */
  abortNamesMax: 1_000,
  /** Modules that may wait for the compiler; more are refused with `overloaded`. */
  queueLengthMax: 10_000,
  /** Size of one compiled file; a compile has one more file of that size while it runs. */
  fileBytesMax: 128 * MIB,
} as const;

export const COMPILE_DEFAULTS = {
  /** All compiled files of a node; above it the least recently used are deleted. */
  cacheBytesMax: 2_560 * MIB,
} as const;
