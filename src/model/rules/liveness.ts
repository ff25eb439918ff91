// Which nodes have gone silent, and when the control plane had better suspect itself.

export type NodeSilence = {
  id: string;
  status: 'online' | 'degraded' | 'offline';
  last_heartbeat_ms: number | null;
};

export type LivenessOptions = {
  nowMs: number;
  /** Since when this control plane listens: silence before that is its own. */
  listeningSinceMs: number;
  offlineMs: number;
  brakePercent: number;
  /** Below this many silent nodes the brake does not act: one node of one is no sign of anything. */
  brakeNodesMin: number;
};

/**
 * `offline`: nodes to mark now. `held`: nodes that are silent too, but so many at once that the brake acts.
 */
export type LivenessOutcome = { offline: string[]; held: string[] };

/**
 * A node is silent once `offlineMs` have passed since its last heartbeat and since the control plane listens.
 */
export function judgeLiveness(nodes: readonly NodeSilence[], options: LivenessOptions): LivenessOutcome {
  const present = nodes.filter((node) => node.status !== 'offline');
  const silent = present.filter((node) => {
    const heardMs = Math.max(node.last_heartbeat_ms ?? 0, options.listeningSinceMs);
    return options.nowMs - heardMs >= options.offlineMs;
  });
  const ids = silent.map((node) => node.id);
  const many = silent.length * 100 > present.length * options.brakePercent;
  if (many && silent.length >= options.brakeNodesMin) return { offline: [], held: ids };
  return { offline: ids, held: [] };
}
