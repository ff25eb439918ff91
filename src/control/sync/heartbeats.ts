// A node's heartbeat: stores what it reports, and holds the answer until its desired state changes.
import type { Clock } from '../../base/clock.ts';
import type { Gate } from '../../base/concurrency.ts';
import { CodedError } from '../../base/errors.ts';
import { randomFraction, type RandomBytes } from '../../base/id.ts';
import { SYNC_DEFAULTS, SYNC_TUNING } from '../../base/limits/sync.ts';
import type { Log } from '../../base/log.ts';
import type { Position } from '../../model/epoch.ts';
import type { HeartbeatAnswer, HeartbeatRequest, ObservedFunction } from '../../model/protocol.ts';
import { type Epochs, succession } from '../../model/rules/epoch.ts';
import type { NodeDesired } from '../../model/rules/fleet.ts';
import type { Store } from '../../store/store.ts';
import type { DesiredStates } from './desired_states.ts';
import type { EpochMarks } from './epochs.ts';
import type { Notifier } from './notifier.ts';
import type { Presence } from './presence.ts';

export type Heartbeats = {
  /**
   * Answers at once where the node's desired state has another digest than `applied_digest`, or is of another
   * epoch, and the node does not refuse that very state; else as soon as it has, when the hold ends, when a newer heartbeat of the node arrives, or when `signal` aborts. Refuses
   * `node_not_found` and `overloaded`.
   */
  beat(nodeId: string, request: HeartbeatRequest, signal: AbortSignal): Promise<HeartbeatAnswer>;
  /** Drops what is kept in memory of a node that was removed. */
  forget(nodeId: string): void;
};

export type HeartbeatOptions = {
  nodes: Pick<Store['nodes'], 'report' | 'rebaseOf'>;
  presence: Pick<Presence, 'heard'>;
  states: DesiredStates;
  marks: EpochMarks;
  /** Wakes with every revision. */
  revisions: Notifier;
  /** Woken when a node reports something new. */
  reports: Notifier;
  polls: Gate;
  clock: Clock;
  random: RandomBytes;
  log: Log;
};

export function createHeartbeats(options: HeartbeatOptions): Heartbeats {
  const { nodes, presence, reports, polls, log } = options;
  const answers = createAnswers(options);
  const due = createDue(options);
  /** Per process of a node, what ends the hold of its latest heartbeat. */
  const holds = new Map<string, AbortController>();
  return {
    forget(nodeId) {
      answers.forget(nodeId);
      due.forget(nodeId);
    },
    beat: (nodeId, request, signal) =>
      polls.enter(async () => {
        const { hold_ms: _, instance, ...heartbeat } = request;
        presence.heard(nodeId, request);
        const { moved, failed } = await nodes.report(nodeId, heartbeat, { isDue: due.take(nodeId) });
        for (const item of failed) logFailure(log, nodeId, item);
        if (moved) reports.wake();
        const holder = `${nodeId} ${instance?.id ?? ''}`;
        holds.get(holder)?.abort();
        const hold = new AbortController();
        holds.set(holder, hold);
        try {
          return await answers.next(nodeId, request, AbortSignal.any([signal, hold.signal]));
        } finally {
          if (holds.get(holder) === hold) holds.delete(holder);
        }
      }),
  };
}

/** Says when the figures of a node are to be written, spread over time after a start. */
function createDue({ clock, random }: Pick<HeartbeatOptions, 'clock' | 'random'>): {
  take(nodeId: string): boolean;
  forget(nodeId: string): void;
} {
  const writtenMs = new Map<string, number>();
  return {
    take(nodeId) {
      const nowMs = clock.monotonicMs();
      const known = writtenMs.get(nodeId);
      if (known !== undefined && nowMs - known < SYNC_TUNING.heartbeatPersistMs) return false;
      const earlierMs = known === undefined ? randomFraction(random) * SYNC_TUNING.heartbeatPersistMs : 0;
      writtenMs.set(nodeId, nowMs - earlierMs);
      return known !== undefined;
    },
    forget: (nodeId) => void writtenMs.delete(nodeId),
  };
}

type Answers = {
  next(nodeId: string, request: HeartbeatRequest, signal: AbortSignal): Promise<HeartbeatAnswer>;
  forget(nodeId: string): void;
};

function createAnswers(options: HeartbeatOptions): Answers {
  const { nodes, states, marks, revisions, clock, random } = options;
  /** Per node, the state that was sent last, until the node reports it as applied. */
  const sent = new Map<string, { digest: string; atMs: number }>();

  /** Between 80 % and all of `ms`, so that nodes that came together do not stay together. */
  const jittered = (ms: number): number => Math.ceil(ms * (1 - randomFraction(random) * 0.2));

  /** A node that comes back without the state it was just sent waits: else the two never pause. */
  const delayAfterSending = (nodeId: string, digest: string): number => {
    const nowMs = clock.monotonicMs();
    const last = sent.get(nodeId);
    sent.set(nodeId, { digest, atMs: nowMs });
    const isRepeat = last?.digest === digest && nowMs - last.atMs < SYNC_DEFAULTS.heartbeatIntervalMs;
    return isRepeat ? SYNC_TUNING.heartbeatRepeatMs : 0;
  };

  return {
    forget: (nodeId) => void sent.delete(nodeId),
    async next(nodeId, request, signal) {
      const holdMs = request.status === 'offline' ? 0 : jittered(request.hold_ms);
      const untilMs = clock.monotonicMs() + holdMs;
      for (;;) {
        const seen = revisions.version;
        // Read before the state: a rebase wakes the wait below, and begins its epoch in the same commit.
        const grant = request.refusal === undefined ? null : await nodes.rebaseOf(nodeId);
        const state = (await states.fleet()).desiredOf(nodeId);
        if (state === null) throw new CodedError('node_not_found');
        const { digest } = state.set;
        const head = headOf(nodeId, request, { state, epochs: states.epochs(), grant });
        const marked = head.epoch === undefined ? null : marks.reach(head.epoch, head.revision);
        if (marked !== null) await marked;
        if (isWanted(request, head))
          return {
            ...head,
            desired: state.set.desired,
            next_heartbeat_ms: delayAfterSending(nodeId, digest),
          };
        sent.delete(nodeId);
        if (revisions.closed)
          return { ...head, desired: null, next_heartbeat_ms: jittered(SYNC_TUNING.heartbeatRepeatMs) };
        const leftMs = untilMs - clock.monotonicMs();
        if (leftMs <= 0 || signal.aborted) {
          const next_heartbeat_ms = request.hold_ms > 0 ? 0 : jittered(SYNC_DEFAULTS.heartbeatIntervalMs);
          return { ...head, desired: null, next_heartbeat_ms };
        }
        await revisions.wait({ seen, ms: leftMs, signal });
      }
    },
  };
}

type Head = Omit<HeartbeatAnswer, 'desired' | 'next_heartbeat_ms'>;

/** A node of a release without epochs gets none: it takes no field that it does not know. */
function headOf(
  nodeId: string,
  { applied_epoch, applied_revision, refusal }: HeartbeatRequest,
  facts: { state: NodeDesired; epochs: Epochs; grant: Position | null },
): Head {
  const { state, epochs, grant } = facts;
  const { current: epoch } = epochs;
  const head = { node_id: nodeId, revision: state.revision, digest: state.set.digest };
  if (applied_epoch === undefined || epoch === null) return head;
  const succeeds = applied_epoch === epoch ? null : succession(epochs, applied_epoch);
  const mayLeave = grant?.epoch === applied_epoch && grant.revision >= applied_revision;
  const has = { epoch: applied_epoch, revision: applied_revision };
  return {
    ...head,
    epoch,
    ...(succeeds === null ? {} : { succeeds }),
    ...(mayLeave && refusal !== undefined ? { rebase: { ...has, nonce: refusal.nonce } } : {}),
  };
}

/** Whether the node lacks this state, and has not just said that it refuses it. */
function isWanted(request: HeartbeatRequest, head: Head): boolean {
  const { applied_digest, applied_epoch, refusal } = request;
  const isOther =
    head.digest !== applied_digest || (head.epoch !== undefined && head.epoch !== applied_epoch);
  const isRefused =
    refusal !== undefined && refusal.epoch === head.epoch && refusal.revision === head.revision;
  return isOther && (!isRefused || head.rebase !== undefined);
}

function logFailure(log: Log, nodeId: string, failed: ObservedFunction): void {
  const { id, version, error } = failed;
  log.warn('a node reports an error of a function', { node_id: nodeId, function_id: id, version, error });
}
