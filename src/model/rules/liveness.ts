// Which nodes have gone silent, and when the control plane suspects itself instead.

export type NodeSilence = {
  id: string;
  status: 'online' | 'degraded' | 'offline';
  last_heartbeat_ms: number | null;
};

export type LivenessOptions = {
  nowMs: number;
  /** Since when this control plane listens: it cannot have heard anything earlier. */
  listeningSinceMs: number;
  /** A node is silent once this long has passed without a heartbeat. */
  offlineMs: number;
  /** The brake: where more than this share of the nodes is silent at once, none is marked offline. */
  brakePercent: number;
  /** The brake needs at least this many silent nodes: one silent node of one says nothing about its cause. */
  brakeNodesMin: number;
};

/** `offline`: nodes to mark as offline. `unmarked`: silent nodes that the brake leaves as they are. */
export type LivenessOutcome = { offline: string[]; unmarked: string[] };

/** Judges the nodes that are not offline yet. */
export function judgeLiveness(nodes: readonly NodeSilence[], options: LivenessOptions): LivenessOutcome {
  const { nowMs, listeningSinceMs, offlineMs, brakePercent, brakeNodesMin } = options;
  const present = nodes.filter((node) => node.status !== 'offline');
  const silent = present.filter((node) => {
    const sinceMs = Math.max(node.last_heartbeat_ms ?? 0, listeningSinceMs);
    return nowMs - sinceMs >= offlineMs;
  });
  const ids = silent.map((node) => node.id);
  const isManyAtOnce = silent.length * 100 > present.length * brakePercent;
  if (isManyAtOnce && silent.length >= brakeNodesMin) return { offline: [], unmarked: ids };
  return { offline: ids, unmarked: [] };
}
