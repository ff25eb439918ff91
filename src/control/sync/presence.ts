// What nodes have said since this process started, and for how long each is silent; nothing is stored.
import type { Clock } from '../../base/clock.ts';
import { SYNC_TUNING } from '../../base/limits/sync.ts';
import type { Log } from '../../base/log.ts';
import type { Metrics } from '../../base/metrics.ts';
import type { Divergence, Position } from '../../model/epoch.ts';
import type { EdgeNode } from '../../model/node.ts';
import type { HeartbeatRequest } from '../../model/protocol.ts';
import { type HeardInstance, hearInstance, rivalsOf } from '../../model/rules/instances.ts';
import { createDivergences } from './divergence.ts';

export type Presence = {
  heard(nodeId: string, heartbeat: HeartbeatRequest): void;
  /** A node that joins gets the time of one that was heard. */
  joined(nodeId: string): void;
  /** How long this process has listened without hearing the node. */
  silentMs(nodeId: string): number;
  /** Counts the time since the last call as time of listening, a bounded part of it; forgets silent rivals. */
  listen(): void;
  /** The node with what it has said last, which the store learns later. */
  shown(node: EdgeNode): EdgeNode;
  /** What the node has, as it said last; null for one that was not heard. `undefined`: it knows no epochs. */
  applied(nodeId: string): AppliedPosition | null;
  /** Null for a node that takes what it is sent, and for one that was not heard. */
  divergence(nodeId: string): Divergence | null;
  forget(nodeId: string): void;
};

export type AppliedPosition = { revision: number; epoch: Position['epoch'] | undefined };

type Heard = Pick<EdgeNode, 'applied_revision' | 'cpu_percent' | 'mem_bytes' | 'diverged'> & {
  applied_epoch: Position['epoch'] | undefined;
  wallMs: number;
  instances: HeardInstance[];
  /** The ids of the rivals that were logged last. */
  rivals: string;
};

/**
 * Silence is counted in time of listening: monotonic time, of which a process that was stopped counts
 * `listenGapMs` at most. So neither a jump of the clock nor a frozen control plane makes nodes silent.
 */
export function createPresence(options: {
  offlineMs: number;
  listenGapMs: number;
  clock: Clock;
  log: Log;
  metrics: Metrics;
}): Presence {
  const { offlineMs, listenGapMs, clock, log, metrics } = options;
  const nodes = new Map<string, Heard>();
  /** The time of listening at which each node was heard last. */
  const heardAtMs = new Map<string, number>();
  const listening = createListening({ clock, gapMs: listenGapMs });
  const divergences = createDivergences({ log, metrics });
  const noteRivals = createRivalNotes({ log, metrics });

  return {
    heard(nodeId, heartbeat) {
      const { applied_revision, applied_epoch, cpu_percent, mem_bytes, instance, status } = heartbeat;
      const nowMs = listening.nowMs();
      const known = nodes.get(nodeId);
      const times = { nowMs, forgetMs: offlineMs };
      const heard: Heard = {
        applied_revision,
        applied_epoch,
        cpu_percent,
        mem_bytes,
        diverged: divergences.note(nodeId, known?.diverged ?? null, heartbeat, clock.nowMs()),
        wallMs: clock.nowMs(),
        rivals: known?.rivals ?? '',
        instances:
          instance === undefined
            ? []
            : hearInstance(known?.instances ?? [], { ...instance, isEnding: status === 'offline' }, times),
      };
      heardAtMs.set(nodeId, nowMs);
      nodes.set(nodeId, heard);
      noteRivals(nodeId, heard);
    },
    joined: (nodeId) => void heardAtMs.set(nodeId, listening.nowMs()),
    silentMs: (nodeId) => listening.nowMs() - (heardAtMs.get(nodeId) ?? 0),
    listen() {
      const nowMs = listening.count();
      for (const [nodeId, heard] of nodes) {
        if (heard.instances.length < 2) continue;
        heard.instances = heard.instances.filter(({ heardMs }) => nowMs - heardMs < offlineMs);
        noteRivals(nodeId, heard);
      }
    },
    shown: (node) => withHeard(node, nodes.get(node.id)),
    applied(nodeId) {
      const heard = nodes.get(nodeId);
      return heard === undefined ? null : { revision: heard.applied_revision, epoch: heard.applied_epoch };
    },
    divergence: (nodeId) => nodes.get(nodeId)?.diverged ?? null,
    forget(nodeId) {
      nodes.delete(nodeId);
      heardAtMs.delete(nodeId);
    },
  };
}

/** Says which processes report as one node, when that changes. */
function createRivalNotes({
  log,
  metrics,
}: {
  log: Log;
  metrics: Metrics;
}): (nodeId: string, heard: Heard) => void {
  const instances = metrics.gauge({
    name: 'control_node_instances',
    help: 'Processes that report as this node at the same time; more than 1 is a fault.',
    labels: ['node_id'],
  });
  return (nodeId, heard) => {
    const rivals = rivalsOf(heard.instances);
    instances.series(nodeId).set(Math.max(1, rivals.length));
    const ids = rivals.map(({ id }) => id).toSorted();
    if (ids.join() === heard.rivals) return;
    heard.rivals = ids.join();
    const processes = rivals.map(({ id, host }) => ({ id, host }));
    if (rivals.length === 0) log.info('one process reports as this node again', { node_id: nodeId });
    else log.error('several processes report as one node; stop all but one', { node_id: nodeId, processes });
  };
}

function withHeard(node: EdgeNode, heard: Heard | undefined): EdgeNode {
  if (heard === undefined) return node;
  const { applied_revision, cpu_percent, mem_bytes, diverged, wallMs } = heard;
  const rivals = rivalsOf(heard.instances);
  const processes = rivals.length > 0 ? rivals : heard.instances.slice(0, 1);
  return {
    ...node,
    applied_revision,
    cpu_percent,
    mem_bytes,
    diverged,
    last_heartbeat_at: new Date(wallMs).toISOString(),
    instances: processes.map(({ id, host }) => ({ id, host })),
  };
}

/** Time of listening: monotonic time, of which `gapMs` at most counts between two calls of `count`. */
function createListening({ clock, gapMs }: { clock: Clock; gapMs: number }): {
  nowMs(): number;
  count(): number;
} {
  let countedMs = 0;
  let countedAtMs = clock.monotonicMs();
  const nowMs = (): number => countedMs + Math.min(clock.monotonicMs() - countedAtMs, gapMs);
  return {
    nowMs,
    count() {
      countedMs = nowMs();
      countedAtMs = clock.monotonicMs();
      return countedMs;
    },
  };
}

/** The step of the liveness loop and the longest gap that counts, for nodes that are offline after this. */
export function listeningOf(offlineMs: number): { stepMs: number; listenGapMs: number } {
  const stepMs = Math.min(SYNC_TUNING.livenessStepMs, Math.ceil(offlineMs / SYNC_TUNING.livenessStepsMin));
  return { stepMs, listenGapMs: SYNC_TUNING.listenGapSteps * stepMs };
}
