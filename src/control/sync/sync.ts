// Keeps nodes in step with what users asked for: heartbeats, desired states, progress, liveness.
import type { Clock } from '../../base/clock.ts';
import { createGate } from '../../base/concurrency.ts';
import { CodedError } from '../../base/errors.ts';
import type { RandomBytes } from '../../base/id.ts';
import { CONTROL_BOUNDS } from '../../base/limits/control.ts';
import type { Log } from '../../base/log.ts';
import type { Loop } from '../../base/loop.ts';
import type { Metrics } from '../../base/metrics.ts';
import type { Store } from '../../store/store.ts';
import type { VersionKey } from '../../store/versions.ts';
import { createDesiredStates } from './desired_states.ts';
import { createHeartbeats, type Heartbeats } from './heartbeats.ts';
import { startLivenessLoop } from './liveness_loop.ts';
import { createNotifier, type Notifier } from './notifier.ts';
import { createProgress, type Progress } from './progress.ts';

export type Sync = {
  readonly heartbeats: Pick<Heartbeats, 'beat'>;
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
  clock: Clock;
  random: RandomBytes;
  log: Log;
  metrics: Metrics;
}): Sync {
  const { store, revisions, clock, random, log, metrics } = options;
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
  const heartbeats = createHeartbeats({ nodes, states, revisions, reports, polls, clock, random, log });
  return {
    heartbeats,
    progress: createProgress({ store, states, revisions, reports, polls, clock }),
    async isDesired(nodeId, { function_id, version }) {
      const fleet = await states.fleet();
      if (!fleet.isNode(nodeId)) throw new CodedError('node_not_found');
      return fleet.versionOn(nodeId, function_id) === version;
    },
    forgetNode(nodeId) {
      heartbeats.forget(nodeId);
      metrics.forget('node_id', nodeId);
    },
    startLiveness: () => startLivenessLoop({ nodes, clock, log, metrics, onOffline: () => reports.wake() }),
    close() {
      revisions.close();
      reports.close();
    },
  };
}
