// The loop that marks silent nodes as offline, a bounded number at once.
import type { Clock } from '../../base/clock.ts';
import { SYNC_TUNING } from '../../base/limits/sync.ts';
import type { Log } from '../../base/log.ts';
import { type Loop, startLoop } from '../../base/loop.ts';
import type { Metrics } from '../../base/metrics.ts';
import { judgeLiveness } from '../../model/rules/liveness.ts';
import type { Store } from '../../store/store.ts';
import type { Presence } from './presence.ts';

/** Every node gets a full `offlineMs` from the start of the process before its silence counts. */
export function startLivenessLoop(options: {
  nodes: Pick<Store['nodes'], 'statuses' | 'markOffline'>;
  presence: Pick<Presence, 'listen' | 'silentMs'>;
  offlineMs: number;
  stepMs: number;
  clock: Clock;
  log: Log;
  metrics: Metrics;
  onOffline: () => void;
}): Loop {
  const { nodes, presence, offlineMs, stepMs, clock, log, metrics, onOffline } = options;
  const up = metrics.gauge({
    name: 'control_node_up',
    help: 'Whether the node sends heartbeats (1) or is offline (0).',
    labels: ['node_id'],
  });
  const rules = {
    offlineMs,
    brakePercent: SYNC_TUNING.livenessBrakePercent,
    brakeNodesMin: SYNC_TUNING.livenessBrakeNodesMin,
    brakeMs: SYNC_TUNING.livenessBrakePeriods * offlineMs,
  };
  const isSilent = (id: string): boolean => presence.silentMs(id) >= offlineMs;
  let unmarkedBefore = 0;
  const step = async (): Promise<number> => {
    presence.listen();
    const known = await nodes.statuses();
    const silences = known.map(({ id, status }) => ({ id, status, silentMs: presence.silentMs(id) }));
    const { offline, unmarked } = judgeLiveness(silences, rules);
    if (unmarked.length !== unmarkedBefore) {
      const counts = { silent: unmarked.length, nodes: silences.length };
      if (unmarked.length > 0) log.warn('many nodes are silent at once; none is marked offline', counts);
      else log.info('the silence of many nodes is over', counts);
    }
    unmarkedBefore = unmarked.length;
    const marked = await nodes.markOffline(offline.slice(0, SYNC_TUNING.livenessMarksMax), isSilent);
    for (const id of marked) log.warn('a node is offline', { node_id: id });
    if (marked.length > 0) onOffline();
    const gone = new Set(marked);
    for (const { id, status } of known) up.series(id).set(status === 'offline' || gone.has(id) ? 0 : 1);
    return offline.length > SYNC_TUNING.livenessMarksMax ? SYNC_TUNING.livenessPauseMs : stepMs;
  };
  return startLoop({ name: 'liveness', clock, log, failedMs: stepMs, step });
}
