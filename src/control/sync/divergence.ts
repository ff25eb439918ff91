// Nodes that refuse what they are sent: what operators see of it, in the log and in a metric.
import type { Log } from '../../base/log.ts';
import type { Metrics } from '../../base/metrics.ts';
import { type Divergence, endsWithRebase, REFUSALS } from '../../model/epoch.ts';
import type { HeartbeatRequest } from '../../model/protocol.ts';

export type Divergences = {
  /** `before` is what the heartbeat before has led to; logs a refusal that begins, changes, or ends. */
  note(
    nodeId: string,
    before: Divergence | null,
    heartbeat: HeartbeatRequest,
    nowMs: number,
  ): Divergence | null;
};

export function createDivergences({ log, metrics }: { log: Log; metrics: Metrics }): Divergences {
  const diverged = metrics.gauge({
    name: 'control_node_diverged',
    help: 'Whether the node refuses what it is sent and keeps what it has (1): `edge nodes` says why.',
    labels: ['node_id'],
  });
  const say = (nodeId: string, { reason }: Divergence): void =>
    log.error('a node refuses what it is sent and keeps what it has', {
      node_id: nodeId,
      reason,
      text: REFUSALS[reason],
      next: endsWithRebase(reason) ? `edge node rebase ${nodeId}` : 'see the log of the node',
    });
  return {
    note(nodeId, before, { refusal, applied_epoch = null, applied_revision }, nowMs) {
      diverged.series(nodeId).set(refusal === undefined ? 0 : 1);
      if (refusal === undefined) {
        if (before !== null) log.info('a node takes again what it is sent', { node_id: nodeId });
        return null;
      }
      const { reason } = refusal;
      const has = { epoch: applied_epoch, revision: applied_revision };
      const since = before?.since ?? new Date(nowMs).toISOString();
      if (before?.reason !== reason) say(nodeId, { reason, has, since });
      return { reason, has, since };
    },
  };
}
