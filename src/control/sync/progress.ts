// How far the nodes are with a deployment, and waiting until they have moved.
import type { Clock } from '../../base/clock.ts';
import type { Deployment, DeploymentProgress, NodeProgress } from '../../model/deployment.ts';
import { type DeploymentTarget, isTargeted } from '../../model/rules/desired.ts';
import { canonicalJson, type ObservedFunction } from '../../model/protocol.ts';
import type { Store } from '../../store/store.ts';
import { type DesiredSnapshot, type DesiredStates, targetOf } from './desired_states.ts';
import type { Gate } from '../../base/concurrency.ts';
import type { Notifier } from './notifier.ts';

export type ProgressReader = {
  of(deployment: Deployment): Promise<DeploymentProgress>;
  /**
   * Resolves once every node has settled (`cached` or `error`), once a node's state differs from when the
   * wait began, once the deployment is over, or after `ms`. Refuses `deployment_not_found` and `overloaded`.
   */
  wait(id: string, options: { ms: number; signal: AbortSignal }): Promise<DeploymentProgress>;
};

export function createProgressReader(options: {
  store: Store;
  states: DesiredStates;
  revised: Notifier;
  reported: Notifier;
  polls: Gate;
  clock: Clock;
}): ProgressReader {
  const { store, states, revised, reported, polls, clock } = options;
  const read = async (deployment: Deployment): Promise<DeploymentProgress> => {
    const snapshot = await states.snapshot();
    const observed = await store.nodes.observed(deployment.function_id, deployment.version);
    const nodes = await store.nodes.all();
    return progressOf({ deployment, target: targetOf(deployment), snapshot, observed, nodes });
  };
  return {
    of: read,
    wait: (id, { ms, signal }) =>
      polls.enter(async () => {
        const untilMs = clock.monotonicMs() + ms;
        let first: string | null = null;
        for (;;) {
          const seen = { revised: revised.version, reported: reported.version };
          const progress = await read(await store.deployments.get(id));
          const now = canonicalJson(progress);
          first ??= now;
          const leftMs = untilMs - clock.monotonicMs();
          const over = progress.deployment.status !== 'active' || isSettled(progress) || now !== first;
          if (over || leftMs <= 0 || signal.aborted) return progress;
          const either = new AbortController();
          const stop = AbortSignal.any([signal, either.signal]);
          const moved = reported.wait({ seen: seen.reported, ms: leftMs, signal: stop });
          const changed = revised.wait({ seen: seen.revised, ms: leftMs, signal: stop });
          await Promise.race([moved, changed]);
          either.abort();
          if (reported.closed) return progress;
        }
      }),
  };
}

type NodeFacts = Awaited<ReturnType<Store['nodes']['all']>>;

/**
 * A node's word on a version counts once it has accepted a desired state that holds the deployment: what it
 * said before was about an earlier one.
 */
function progressOf(facts: {
  deployment: Deployment;
  target: DeploymentTarget;
  snapshot: DesiredSnapshot;
  observed: ReadonlyMap<string, ObservedFunction>;
  nodes: NodeFacts;
}): DeploymentProgress {
  const { deployment, target, snapshot, observed } = facts;
  const nodes: NodeProgress[] = [];
  for (const { node, applied_digest } of facts.nodes) {
    if (!isTargeted(node, target)) continue;
    const accepted =
      node.applied_revision >= deployment.revision || applied_digest === snapshot.desiredFor(node).digest;
    const said = accepted ? observed.get(node.id) : undefined;
    nodes.push({
      node_id: node.id,
      pop_id: node.pop_id,
      node_status: node.status,
      state: said?.state ?? 'pending',
      error: said?.error ?? null,
    });
  }
  const present = nodes.filter((node) => node.node_status !== 'offline');
  const complete = present.length > 0 && present.every((node) => node.state === 'cached');
  return { deployment, nodes, complete };
}

function isSettled(progress: DeploymentProgress): boolean {
  const present = progress.nodes.filter((node) => node.node_status !== 'offline');
  return present.length > 0 && present.every((node) => node.state === 'cached' || node.state === 'error');
}
