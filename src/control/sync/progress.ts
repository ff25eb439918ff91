// How far the nodes are with a deployment, and waiting for them.
import type { Clock } from '../../base/clock.ts';
import type { Gate } from '../../base/concurrency.ts';
import { SYNC_TUNING } from '../../base/limits/sync.ts';
import type { Deployment, DeploymentProgress, NodeProgress } from '../../model/deployment.ts';
import { canonicalJson, type ObservedFunction } from '../../model/protocol.ts';
import { Fleet } from '../../model/rules/fleet.ts';
import { hasFailed, summaryOf } from '../../model/rules/progress.ts';
import type { FleetNode } from '../../store/nodes/nodes.ts';
import type { Operations, Store } from '../../store/store.ts';
import type { DesiredStates } from './desired_states.ts';
import type { Notifier } from './notifier.ts';
import type { Presence } from './presence.ts';

export type Progress = {
  of(deployment: Deployment): Promise<DeploymentProgress>;
  /**
   * The nodes of deployments of one function, by id, in the transaction that made or found these. Reports count
   * from nodes that have accepted the revision of the deployment: none for one that was made now.
   */
  begun(
    deployments: readonly Deployment[],
    operations: Pick<Operations, 'facts' | 'nodes'>,
  ): Promise<NodeProgress[]>;
  /**
   * Resolves once every node that is not offline has settled (`cached`, `error` or `failed`), once the
   * progress differs from when the wait began, once the deployment is over, or after `ms`. Refuses
   * `deployment_not_found` and `overloaded`.
   */
  wait(id: string, options: { ms: number; signal: AbortSignal }): Promise<DeploymentProgress>;
};

export function createProgress(options: {
  store: Pick<Store, 'deployments' | 'nodes'>;
  presence: Pick<Presence, 'applied'>;
  states: DesiredStates;
  revisions: Notifier;
  reports: Notifier;
  polls: Gate;
  clock: Clock;
}): Progress {
  const { store, presence, states, revisions, reports, polls, clock } = options;
  const of = async (deployment: Deployment): Promise<DeploymentProgress> => {
    const fleet = await states.fleet();
    const { nodes: decided, matched } = fleet.reachOf(deployment);
    const ids = decided.map(({ id }) => id);
    const digestOf = (id: string): string | null => fleet.desiredOf(id)?.set.digest ?? null;
    const { current: epoch } = states.epochs();
    const nodes = await nodesOf({ deployment, ids, nodes: store.nodes, presence, epoch, digestOf });
    const summary = summaryOf(nodes);
    const state = deployment.status === 'active' ? summary.state : 'over';
    return { deployment, nodes, matched_nodes: matched, ...summary, state };
  };
  return {
    of,
    async begun(deployments, { facts, nodes }) {
      const [first] = deployments;
      if (first === undefined) return [];
      const fleet = new Fleet();
      fleet.update(await facts.ofFunction(first.function_id));
      const found: NodeProgress[] = [];
      const { current: epoch } = states.epochs();
      for (const deployment of deployments) {
        const ids = fleet.reachOf(deployment).nodes.map(({ id }) => id);
        found.push(...(await nodesOf({ deployment, ids, nodes, presence, epoch, digestOf: () => null })));
      }
      return found.sort((a, b) => (a.node_id < b.node_id ? -1 : 1));
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
          const gapMs = Math.min(gapFor(progress), untilMs - clock.monotonicMs());
          if (gapMs > 0) await clock.sleep(gapMs, signal);
        }
      }),
  };
}

/** How far each of the nodes `ids` is. `digestOf`: of a node's desired state; null where it is not known. */
async function nodesOf(facts: {
  deployment: Deployment;
  ids: readonly string[];
  nodes: Pick<Store['nodes'], 'some' | 'observed'>;
  presence: Pick<Presence, 'applied'>;
  /** Revisions of nodes that are in another one say nothing. */
  epoch: string | null;
  digestOf: (id: string) => string | null;
}): Promise<NodeProgress[]> {
  const { deployment, ids, nodes, presence, epoch, digestOf } = facts;
  const observed = await nodes.observed(deployment.function_id, deployment.version);
  const known = await nodes.some(ids);
  return known.map((stored) => {
    const applied = presence.applied(stored.id) ?? { revision: stored.applied_revision, epoch: undefined };
    const isComparable = applied.epoch === undefined || applied.epoch === epoch;
    const node = { ...stored, applied_revision: isComparable ? applied.revision : 0 };
    return nodeProgress({ deployment, node, digestOf, report: observed.get(node.id) });
  });
}

/**
 * What a node reports of a version counts once it has accepted a desired state that holds the deployment:
 * earlier reports are about an earlier deployment.
 */
function nodeProgress(facts: {
  deployment: Deployment;
  node: FleetNode;
  digestOf: (id: string) => string | null;
  report: ObservedFunction | undefined;
}): NodeProgress {
  const { deployment, node, digestOf } = facts;
  const { applied_revision, applied_digest } = node;
  const hasAccepted =
    applied_revision >= deployment.revision ||
    (applied_digest !== null && applied_digest === digestOf(node.id));
  const report = hasAccepted ? facts.report : undefined;
  return {
    node_id: node.id,
    pop_id: node.pop_id,
    node_status: node.status,
    state: report?.state ?? 'pending',
    error: report?.error ?? null,
    interpreted: report?.interpreted ?? null,
  };
}

/** Many nodes report one by one: looking at all of them for each report would cost the square of their number. */
function gapFor({ nodes }: DeploymentProgress): number {
  return Math.floor(nodes.length / SYNC_TUNING.progressNodesPerMs);
}

function isSettled({ nodes }: DeploymentProgress): boolean {
  const present = nodes.filter((node) => node.node_status !== 'offline');
  return present.length > 0 && present.every((node) => node.state === 'cached' || hasFailed(node));
}
