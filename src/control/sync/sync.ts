// Keeps nodes in step with what users asked for: heartbeats, desired states, progress, liveness.
import type { Clock } from '../../base/clock.ts';
import { createGate } from '../../base/concurrency.ts';
import { CodedError } from '../../base/errors.ts';
import type { RandomBytes } from '../../base/id.ts';
import { CONTROL_BOUNDS } from '../../base/limits/control.ts';
import type { Log } from '../../base/log.ts';
import type { Loop } from '../../base/loop.ts';
import type { Metrics } from '../../base/metrics.ts';
import type { Divergence } from '../../model/epoch.ts';
import type { EdgeNode } from '../../model/node.ts';
import type { Store } from '../../store/store.ts';
import type { VersionKey } from '../../store/versions.ts';
import { createDesiredStates } from './desired_states.ts';
import type { EpochMarks } from './epochs.ts';
import { createHeartbeats, type Heartbeats } from './heartbeats.ts';
import { startLivenessLoop } from './liveness_loop.ts';
import { createPresence, listeningOf } from './presence.ts';
import { createNotifier, type Notifier } from './notifier.ts';
import { createProgress, type Progress } from './progress.ts';

export type Sync = {
  readonly heartbeats: Pick<Heartbeats, 'beat'>;
  /** A node with what it has said last, which the store learns later. */
  shown(node: EdgeNode): EdgeNode;
  /** Null for a node that refuses nothing, and for one that was not heard since the start. */
  divergence(nodeId: string): Divergence | null;
  /** A node that has just joined is not silent yet. */
  joined(nodeId: string): void;
  readonly progress: Progress;
  /** Whether this version is in the node's desired state. Refuses `node_not_found`. */
  isDesired(nodeId: string, key: VersionKey): Promise<boolean>;
  /** Drops what is kept in memory of a node that was removed, its metrics included. */
  forgetNode(nodeId: string): void;
  /** Starts the loop that marks silent nodes as offline. */
  startLiveness(): Loop;
  /** Answers every held request; none is held from then on. */
  close(): void;
};

/** `revisions` is woken by every commit that raises the revision; `close` closes it. */
export function createSync(options: {
  store: Pick<Store, 'deployments' | 'facts' | 'nodes'>;
  revisions: Notifier;
  marks: EpochMarks;
  /** A node that has been silent for this long is offline. */
  nodeOfflineMs: number;
  clock: Clock;
  random: RandomBytes;
  log: Log;
  metrics: Metrics;
}): Sync {
  const { store, revisions, marks, nodeOfflineMs: offlineMs, clock, random, log, metrics } = options;
  const { nodes } = store;
  const reports = createNotifier({ clock });
  const polls = createGate({ max: CONTROL_BOUNDS.longPollsMax });
  metrics.collected({
    name: 'control_held_polls',
    help: 'Heartbeats and waits for deployments that are held.',
    kind: 'gauge',
    read: () => [{ value: polls.inside }],
  });
  const states = createDesiredStates({ facts: store.facts, revisions });
  const { stepMs, listenGapMs } = listeningOf(offlineMs);
  const presence = createPresence({ offlineMs, listenGapMs, clock, log, metrics });
  const shared = { nodes, presence, clock, log };
  const heartbeats = createHeartbeats({ ...shared, states, marks, revisions, reports, polls, random });
  return {
    heartbeats,
    shown: (node) => presence.shown(node),
    divergence: (nodeId) => presence.divergence(nodeId),
    joined: (nodeId) => presence.joined(nodeId),
    progress: createProgress({ store, presence, states, revisions, reports, polls, clock }),
    async isDesired(nodeId, { function_id, version }) {
      const fleet = await states.fleet();
      if (!fleet.isNode(nodeId)) throw new CodedError('node_not_found');
      return fleet.versionOn(nodeId, function_id) === version;
    },
    forgetNode(nodeId) {
      heartbeats.forget(nodeId);
      presence.forget(nodeId);
      metrics.forget('node_id', nodeId);
    },
    startLiveness: () =>
      startLivenessLoop({ ...shared, offlineMs, stepMs, metrics, onOffline: () => reports.wake() }),
    close() {
      revisions.close();
      reports.close();
    },
  };
}
