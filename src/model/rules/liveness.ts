// Which nodes have gone silent, and when the control plane suspects itself instead.

export type NodeSilence = {
  id: string;
  status: 'online' | 'degraded' | 'offline';
  /** For how long the control plane has listened and heard nothing of the node. */
  silentMs: number;
};

export type LivenessOptions = {
  /** A node is silent once this long has passed without a heartbeat. */
  offlineMs: number;
  /** The brake: where more than this share of the nodes is silent at once, none is marked offline. */
  brakePercent: number;
  /** The brake needs at least this many silent nodes: one silent node of one says nothing about its cause. */
  brakeNodesMin: number;
  /** The brake holds no node for longer than this: whatever the cause, nobody reaches that node from here. */
  brakeMs: number;
};

/** `offline`: nodes to mark as offline. `unmarked`: silent nodes that the brake leaves as they are. */
export type LivenessOutcome = { offline: string[]; unmarked: string[] };

/** Judges the nodes that are not offline yet. */
export function judgeLiveness(nodes: readonly NodeSilence[], options: LivenessOptions): LivenessOutcome {
  const { offlineMs, brakePercent, brakeNodesMin, brakeMs } = options;
  const present = nodes.filter((node) => node.status !== 'offline');
  const silent = present.filter((node) => node.silentMs >= offlineMs);
  const isManyAtOnce = silent.length * 100 > present.length * brakePercent;
  const isBraked = isManyAtOnce && silent.length >= brakeNodesMin;
  const mayMark = (node: NodeSilence): boolean => !isBraked || node.silentMs >= brakeMs;
  return {
    offline: silent.filter(mayMark).map((node) => node.id),
    unmarked: silent.filter((node) => !mayMark(node)).map((node) => node.id),
  };
}
