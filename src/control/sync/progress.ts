// How far the nodes are with a deployment, and waiting for them.
import type { Clock } from '../../base/clock.ts';
import type { Gate } from '../../base/concurrency.ts';
import { SYNC_TUNING } from '../../base/limits/sync.ts';
import type { Deployment, DeploymentProgress, NodeProgress } from '../../model/deployment.ts';
import type { EdgeNode } from '../../model/node.ts';
import { canonicalJson, type ObservedFunction } from '../../model/protocol.ts';
import { hasFailed, summaryOf } from '../../model/rules/progress.ts';
import type { Store } from '../../store/store.ts';
import type { DesiredStates } from './desired_states.ts';
import type { Notifier } from './notifier.ts';

export type Progress = {
  of(deployment: Deployment): Promise<DeploymentProgress>;
  /**
   * Resolves once every node that is not offline has settled (`cached`, `error` or `failed`), once the
   * progress differs from when the wait began, once the deployment is over, or after `ms`. Refuses
   * `deployment_not_found` and `overloaded`.
   */
  wait(id: string, options: { ms: number; signal: AbortSignal }): Promise<DeploymentProgress>;
};

export function createProgress(options: {
  store: Pick<Store, 'deployments' | 'nodes'>;
  states: DesiredStates;
  revisions: Notifier;
  reports: Notifier;
  polls: Gate;
  clock: Clock;
}): Progress {
  const { store, states, revisions, reports, polls, clock } = options;
  const of = async (deployment: Deployment): Promise<DeploymentProgress> => {
    const fleet = await states.fleet();
    const { nodes: decided, matched } = fleet.reachOf(deployment);
    const digests = new Map(decided.map(({ id }) => [id, () => fleet.desiredOf(id)?.set.digest ?? null]));
    const observed = await store.nodes.observed(deployment.function_id, deployment.version);
    const rows = await store.nodes.some([...digests.keys()]);
    const nodes = rows.map((row) => {
      const digest = digests.get(row.node.id) ?? (() => null);
      return nodeProgress({ ...row, deployment, digest, report: observed.get(row.node.id) });
    });
    const summary = summaryOf(nodes);
    const state = deployment.status === 'active' ? summary.state : 'over';
    return { deployment, nodes, matched_nodes: matched, ...summary, state };
  };
  return {
    of,
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

/**
 * What a node reports of a version counts once it has accepted a desired state that holds the deployment:
 * earlier reports are about an earlier deployment.
 */
function nodeProgress(facts: {
  deployment: Deployment;
  node: EdgeNode;
  applied_digest: string | null;
  digest: () => string | null;
  report: ObservedFunction | undefined;
}): NodeProgress {
  const { deployment, node, applied_digest, digest } = facts;
  const hasAccepted =
    node.applied_revision >= deployment.revision || (applied_digest !== null && applied_digest === digest());
  const report = hasAccepted ? facts.report : undefined;
  return {
    node_id: node.id,
    pop_id: node.pop_id,
    node_status: node.status,
    state: report?.state ?? 'pending',
    error: report?.error ?? null,
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
