// A node's heartbeat: keep what it reports, and hold the answer until its desired state moves.
import type { Clock } from '../../base/clock.ts';
import { CodedError } from '../../base/errors.ts';
import { SYNC_DEFAULTS, SYNC_TUNING } from '../../base/limits/sync.ts';
import type { RandomBytes } from '../../base/id.ts';
import type { Log } from '../../base/log.ts';
import type { HeartbeatAnswer, HeartbeatRequest, ObservedFunction } from '../../model/protocol.ts';
import type { SelectorNode } from '../../model/rules/selector.ts';
import type { Store } from '../../store/store.ts';
import type { DesiredStates } from './desired_states.ts';
import type { Gate } from '../../base/concurrency.ts';
import type { Notifier } from './notifier.ts';

export type Heartbeats = {
  /**
   * Resolves with the answer at once where the node's desired state differs from `applied_digest`, else when
   * it comes to differ, when the hold ends, or when a newer heartbeat of the same node arrives. An aborted
   * `signal` frees it. Refuses `node_not_found` and `overloaded`.
   */
  beat(nodeId: string, request: HeartbeatRequest, signal: AbortSignal): Promise<HeartbeatAnswer>;
  /** For a node that is gone. */
  forget(nodeId: string): void;
};

export type HeartbeatOptions = {
  store: Store;
  states: DesiredStates;
  /** Wakes with every revision. */
  revised: Notifier;
  /** Wakes when a node reports something new. */
  reported: Notifier;
  polls: Gate;
  clock: Clock;
  random: RandomBytes;
  log: Log;
};

export function createHeartbeats(options: HeartbeatOptions): Heartbeats {
  const { store, states, revised, reported, polls, clock, random, log } = options;
  const held = new Map<string, AbortController>();
  const sent = new Map<string, { digest: string; atMs: number }>();
  /** In (0.8, 1] of the time, so that nodes that came together do not stay together. */
  const stagger = (ms: number): number => Math.ceil(ms * (1 - ((random(1)[0] ?? 0) / 256) * 0.2));

  const answer = async (
    node: SelectorNode,
    request: HeartbeatRequest,
    signal: AbortSignal,
  ): Promise<HeartbeatAnswer> => {
    const untilMs = clock.monotonicMs() + (request.status === 'offline' ? 0 : stagger(request.hold_ms));
    for (;;) {
      const seen = revised.version;
      const snapshot = await states.snapshot();
      if (!snapshot.isNode(node.id)) throw new CodedError('node_not_found');
      const { desired, digest } = snapshot.desiredFor(node);
      const head = { node_id: node.id, revision: snapshot.revision, digest };
      if (digest !== request.applied_digest) {
        return {
          ...head,
          desired,
          next_heartbeat_ms: delayAfter(sent, node.id, digest, clock.monotonicMs()),
        };
      }
      sent.delete(node.id);
      const leftMs = untilMs - clock.monotonicMs();
      if (revised.closed) {
        return { ...head, desired: null, next_heartbeat_ms: stagger(SYNC_TUNING.heartbeatRepeatMs) };
      }
      if (leftMs <= 0 || signal.aborted) {
        const next_heartbeat_ms = request.hold_ms > 0 ? 0 : stagger(SYNC_DEFAULTS.heartbeatIntervalMs);
        return { ...head, desired: null, next_heartbeat_ms };
      }
      await revised.wait({ seen, ms: leftMs, signal });
    }
  };

  return {
    forget: (nodeId) => void sent.delete(nodeId),
    beat: (nodeId, request, signal) =>
      polls.enter(async () => {
        const { hold_ms: _, ...heartbeat } = request;
        const { node, moved, failed } = await store.nodes.report(nodeId, heartbeat);
        for (const item of failed) logFailure(log, nodeId, item);
        if (moved) reported.wake();
        held.get(nodeId)?.abort();
        const displaced = new AbortController();
        held.set(nodeId, displaced);
        try {
          const target = { id: nodeId, pop_id: node.pop_id, labels: request.labels };
          return await answer(target, request, AbortSignal.any([signal, displaced.signal]));
        } finally {
          if (held.get(nodeId) === displaced) held.delete(nodeId);
        }
      }),
  };
}

/**
 * A node that comes back without what it was just sent is asked to wait, else the two would run in circles.
 */
function delayAfter(
  sent: Map<string, { digest: string; atMs: number }>,
  nodeId: string,
  digest: string,
  nowMs: number,
): number {
  const last = sent.get(nodeId);
  sent.set(nodeId, { digest, atMs: nowMs });
  const again =
    last !== undefined && last.digest === digest && nowMs - last.atMs < SYNC_DEFAULTS.heartbeatIntervalMs;
  return again ? SYNC_TUNING.heartbeatRepeatMs : 0;
}

function logFailure(log: Log, nodeId: string, failed: ObservedFunction): void {
  const { id, version, error } = failed;
  log.warn('a node reports an error of a function', { node_id: nodeId, function_id: id, version, error });
}
