// Times and bounds of the engine process as its edge runs it.

/** Hard bounds. */
export const ENGINE_BOUNDS = {
  /** From spawn until the engine process says that it serves. */
  openMs: 10_000,
  /** An engine process, or a worker, that was told to end is waited for so long. */
  closeMs: 2_000,
  /** Lines of its stderr that reach the log, and their length; it may be taken over by a guest. */
  logLinesMax: 1_000,
  logLineLengthMax: 1_000,
} as const;

export const ENGINE_TUNING = {
  /** An engine process that served this long has started well: the next restart is not delayed. */
  stableMs: 10_000,
  /** Pause before a restart; it doubles up to the maximum. */
  restartMsMin: 100,
  restartMsMax: 5_000,
} as const;
