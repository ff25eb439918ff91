// How many files a process opens: what it says at its start where the limit of the system is lower.

export const OPEN_FILES = {
  /** Databases, logs, listeners and libraries. */
  base: 64,
  /** Connections of clients at one time, of functions and of the API. */
  clients: 512,
  /** A worker has a pidfd and its memory; those of its successor open while it is replaced. */
  perWorker: 4,
  /** Each node holds a connection of its control plane, and a second one while it reconnects. */
  perNode: 2,
  /** Nodes that a control plane has room for, whether they have joined yet or not. */
  nodesMin: 64,
} as const;
