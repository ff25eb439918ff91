// Bounds and tuning of the engine process that an edge runs.

/** Hard bounds. */
export const ENGINE_BOUNDS = {
  /** Time from the spawn of the engine process until it reports that it serves. */
  openMs: 10_000,
  /** Time that an engine process or a worker has to exit once it is asked to. */
  closeMs: 2_000,
  /** Pings in a row without an answer after which an engine process is killed and another started. */
  pingsUnanswered: 40,
  /** Share of the machine's memory that the engine process and its children may take together. */
  memoryShareMax: 0.8,
  /** Processes and threads that it may have besides its workers: compiles, and the trial of its wall. */
  otherTasksMax: 256,
  /** Lines of its stderr that reach the log, and their length: a guest may have taken the process over. */
  logLinesMax: 1_000,
  logLineLengthMax: 1_000,
} as const;

export const ENGINE_TUNING = {
  /** How often the engine process is asked whether it still obeys. */
  pingIntervalMs: 250,
  /** Pings in a row without an answer after which the node is not ready, and one that is stopped is killed. */
  pingsMissed: 4,
  /** An engine process that served for this long is healthy: its next restart is not delayed. */
  stableMs: 10_000,
  /** Pause before a restart; it doubles with each failed start, up to the maximum. */
  restartMsMin: 100,
  restartMsMax: 5_000,
} as const;
