// Tuning of how a server gives memory back after work.

const MIB = 1024 * 1024;

export const HEAP_TUNING = {
  /** How often the process looks at its own processor time. */
  pollMs: 1_000,
  /** Processor time between two polls that counts as work. */
  workMs: 100,
  /** Collections after work: pages go back to the system in more than one step. */
  collections: 2,
  /** Busy polls after which a large heap is collected in the middle of work. */
  busyPolls: 5,
  /** Up to this resident size there is nothing to gain. */
  smallBytes: 100 * MIB,
  /** Above this resident size work does not put a collection off for ever. */
  residentBytes: 112 * MIB,
} as const;
