// Tuning of the garbage collections that give memory back to the system after work.

const MIB = 1024 * 1024;

export const HEAP_TUNING = {
  /** How often a process reads its own processor time. */
  pollMs: 1_000,
  /** A process that used this much processor time since the last poll is working. */
  workMs: 100,
  /** Collections after each burst of work: pages go back to the system in more than one step. */
  collections: 2,
  /** Polls with work, since its last collection, after which a process above `residentBytes` gets another. */
  busyPolls: 5,
  /** A process of this resident size or less has nothing to give back. */
  smallBytes: 100 * MIB,
  /** A larger process is collected even if it never pauses. */
  residentBytes: 112 * MIB,
} as const;
