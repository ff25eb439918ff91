// The loop that marks silent nodes as offline.
import type { Clock } from '../../base/clock.ts';
import { SYNC_TUNING } from '../../base/limits/sync.ts';
import type { Log } from '../../base/log.ts';
import { type Loop, startLoop } from '../../base/loop.ts';
import type { Metrics } from '../../base/metrics.ts';
import { judgeLiveness } from '../../model/rules/liveness.ts';
import type { Store } from '../../store/store.ts';

/** Every node gets a full `nodeOfflineMs` from the start of the loop before its silence counts. */
export function startLivenessLoop(options: {
  nodes: Pick<Store['nodes'], 'silences' | 'markOffline'>;
  clock: Clock;
  log: Log;
  metrics: Metrics;
  onOffline: () => void;
}): Loop {
  const { nodes, clock, log, metrics, onOffline } = options;
  const listeningSinceMs = clock.nowMs();
  const up = metrics.gauge({
    name: 'control_node_up',
    help: 'Whether the node sends heartbeats (1) or is offline (0).',
    labels: ['node_id'],
  });
  let unmarkedBefore = 0;
  const step = async (): Promise<number> => {
    const silences = await nodes.silences();
    const { offline, unmarked } = judgeLiveness(silences, {
      nowMs: clock.nowMs(),
      listeningSinceMs,
      offlineMs: SYNC_TUNING.nodeOfflineMs,
      brakePercent: SYNC_TUNING.livenessBrakePercent,
      brakeNodesMin: SYNC_TUNING.livenessBrakeNodesMin,
    });
    if (unmarked.length !== unmarkedBefore) {
      log.warn('many nodes are silent at once; none is marked offline', {
        silent: unmarked.length,
        nodes: silences.length,
      });
    }
    unmarkedBefore = unmarked.length;
    if (offline.length > 0) {
      await nodes.markOffline(offline);
      for (const id of offline) log.warn('a node is offline', { node_id: id });
      onOffline();
    }
    const marked = new Set(offline);
    for (const { id, status } of silences) up.series(id).set(status === 'offline' || marked.has(id) ? 0 : 1);
    return SYNC_TUNING.livenessStepMs;
  };
  return startLoop({ name: 'liveness', clock, log, failedMs: SYNC_TUNING.livenessStepMs, step });
}
