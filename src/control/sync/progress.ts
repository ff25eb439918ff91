// How far the nodes are with a deployment, and waiting for them.
import type { Clock } from '../../base/clock.ts';
import type { Gate } from '../../base/concurrency.ts';
import type { Deployment, DeploymentProgress, NodeProgress } from '../../model/deployment.ts';
import { canonicalJson, type ObservedFunction } from '../../model/protocol.ts';
import { type DeploymentTarget, isTargeted } from '../../model/rules/desired.ts';
import type { Store } from '../../store/store.ts';
import { type DesiredSnapshot, type DesiredStates, targetOf } from './desired_states.ts';
import type { Notifier } from './notifier.ts';
import type { Presence } from './presence.ts';

export type Progress = {
  of(deployment: Deployment): Promise<DeploymentProgress>;
  /** The progress of a deployment that commits with this answer: no node has reported it yet. */
  begun(deployment: Deployment, store: Pick<Store, 'nodes'>): Promise<DeploymentProgress>;
  /**
   * Resolves once every node that is not offline has settled (`cached` or `error`), once the progress differs
   * from when the wait began, once the deployment is over, or after `ms`. Refuses `deployment_not_found` and
   * `overloaded`.
   */
  wait(id: string, options: { ms: number; signal: AbortSignal }): Promise<DeploymentProgress>;
};

export function createProgress(options: {
  store: Pick<Store, 'deployments' | 'nodes'>;
  presence: Pick<Presence, 'appliedRevision'>;
  states: DesiredStates;
  revisions: Notifier;
  reports: Notifier;
  polls: Gate;
  clock: Clock;
}): Progress {
  const { store, presence, states, revisions, reports, polls, clock } = options;
  const of = async (deployment: Deployment): Promise<DeploymentProgress> => {
    const snapshot = await states.snapshot();
    const observed = await store.nodes.observed(deployment.function_id, deployment.version);
    const stored = await store.nodes.all();
    const nodes = stored.map(({ node, ...rest }) => {
      const applied_revision = presence.appliedRevision(node.id) ?? node.applied_revision;
      return { ...rest, node: { ...node, applied_revision } };
    });
    return progressOf({ deployment, target: targetOf(deployment), snapshot, observed, nodes });
  };
  return {
    of,
    async begun(deployment, { nodes }) {
      const target = targetOf(deployment);
      const targeted = (await nodes.all()).filter(({ node }) => isTargeted(node, target));
      const waiting = targeted.map(({ node }): NodeProgress => {
        return { ...placeOf(node), state: 'pending', error: null, interpreted: null };
      });
      return { deployment, nodes: waiting, complete: false };
    },
    wait: (id, { ms, signal }) =>
      polls.enter(async () => {
        const untilMs = clock.monotonicMs() + ms;
        let first: string | null = null;
        for (;;) {
          const seen = { revisions: revisions.version, reports: reports.version };
          const progress = await of(await store.deployments.get(id));
          const latest = canonicalJson(progress);
          first ??= latest;
          const isOver = progress.deployment.status !== 'active' || isSettled(progress);
          const leftMs = untilMs - clock.monotonicMs();
          if (isOver || latest !== first || leftMs <= 0 || signal.aborted || reports.closed) return progress;
          const changed = new AbortController();
          const either = { ms: leftMs, signal: AbortSignal.any([signal, changed.signal]) };
          await Promise.race([
            reports.wait({ seen: seen.reports, ...either }),
            revisions.wait({ seen: seen.revisions, ...either }),
          ]);
          changed.abort();
        }
      }),
  };
}

type FleetEntry = Awaited<ReturnType<Store['nodes']['all']>>[number];
type FleetNode = FleetEntry['node'];

/**
 * What a node reports of a version counts once it has accepted a desired state that holds the deployment:
 * earlier reports are about an earlier deployment.
 */
function progressOf(facts: {
  deployment: Deployment;
  target: DeploymentTarget;
  snapshot: DesiredSnapshot;
  /** By node id. */
  observed: ReadonlyMap<string, ObservedFunction>;
  nodes: readonly FleetEntry[];
}): DeploymentProgress {
  const { deployment, target, snapshot, observed } = facts;
  const nodes: NodeProgress[] = [];
  for (const { node, applied_digest } of facts.nodes) {
    if (!isTargeted(node, target)) continue;
    const hasAccepted =
      node.applied_revision >= deployment.revision || applied_digest === snapshot.desiredFor(node).digest;
    const report = hasAccepted ? observed.get(node.id) : undefined;
    nodes.push({
      ...placeOf(node),
      state: report?.state ?? 'pending',
      error: report?.error ?? null,
      interpreted: report?.interpreted ?? null,
    });
  }
  const present = presentNodes(nodes);
  const complete = present.length > 0 && present.every((node) => node.state === 'cached');
  return { deployment, nodes, complete };
}

function placeOf(node: FleetNode): Pick<NodeProgress, 'node_id' | 'pop_id' | 'node_status'> {
  return { node_id: node.id, pop_id: node.pop_id, node_status: node.status };
}

function isSettled(progress: DeploymentProgress): boolean {
  const present = presentNodes(progress.nodes);
  return present.length > 0 && present.every((node) => node.state === 'cached' || node.state === 'error');
}

function presentNodes(nodes: readonly NodeProgress[]): NodeProgress[] {
  return nodes.filter((node) => node.node_status !== 'offline');
}
