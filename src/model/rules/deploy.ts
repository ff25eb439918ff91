// What a deploy makes of the active deployments of one function, and which of them decides on a node.
import type { SelectorNode } from '../target/selector.ts';
import {
  isEveryNode,
  matchTarget,
  type NodeFact,
  type Target,
  type TargetMatch,
  targetKey,
} from '../target/target.ts';

/** `rank` orders the active deployments of a function: the highest that matches a node decides there. */
export type ActiveDeployment = Target & {
  id: string;
  version: string;
  previous_version: string | null;
  /** The version that a rollback left with it. */
  from: string | null;
  rank: number;
  /** Rises with every deployment; the newest is what a rollback leaves. */
  revision: number;
};

/** `rank` is null for the rank of the newest. `replaces`: the id of the deployment with the same target. */
export type MadeDeployment = {
  target: Target;
  version: string;
  previous_version: string | null;
  from: string | null;
  rank: number | null;
  replaces: string | null;
};

/** `ended`: ids of deployments that end, those that are replaced included. */
export type DeployDecision = { made: MadeDeployment[]; ended: string[] };

/** The active deployment with the highest rank that matches the node; null where none does. */
export function decidingOn<Item extends { matches: TargetMatch }>(
  ranked: readonly Item[],
  node: SelectorNode,
): Item | null {
  return ranked.find((item) => item.matches(node)) ?? null;
}

/** Highest rank first. */
export function ranked<Item extends { rank: number }>(active: readonly Item[]): Item[] {
  return [...active].sort((a, b) => b.rank - a.rank);
}

/**
 * A deploy of `version`. With a `target` it comes first and replaces the deployment of the same target, or
 * all where it is for every node. With null each target of the function moves to the version and keeps its
 * rank; a function without a deployment gets one for `fallback`.
 */
export function decideDeploy(
  active: readonly ActiveDeployment[],
  wanted: {
    version: string;
    target: Target | null;
    fallback: Target;
    nodes: readonly NodeFact[];
    /** The last deployment of the function, where none is active. */
    last: Pick<ActiveDeployment, 'version' | 'previous_version'> | null;
  },
): DeployDecision {
  const { version, target, fallback, nodes, last } = wanted;
  if (target === null && active.length > 0) {
    const made = active.map((one) => successor(one, { version, from: null }));
    return { made, ended: active.map((one) => one.id) };
  }
  const chosen = target ?? fallback;
  const key = targetKey(chosen);
  const same = active.find((one) => targetKey(one) === key);
  const ended = isEveryNode(chosen) ? active : active.filter((one) => one === same);
  const before = same ?? mostRecentOn(nodes, active, chosen) ?? last;
  const made: MadeDeployment = {
    target: chosen,
    version,
    previous_version: before === null ? null : versionBefore(before, version),
    from: null,
    rank: null,
    replaces: same?.id ?? null,
  };
  return { made: [made], ended: ended.map((one) => one.id) };
}

export type RollbackDecision =
  | { kind: 'moves'; from: string; decision: DeployDecision }
  /** Every target has left `from` already. */
  | { kind: 'unchanged'; from: string }
  /** No deployment runs `from`, and none has left it. */
  | { kind: 'not_active'; from: string }
  /** Nothing ran on this target before. */
  | { kind: 'nothing_before'; from: string; target: Target }
  /** No deployment decides on a node of this target. */
  | { kind: 'nowhere'; from: string; target: Target };

/**
 * Each target that runs `from` goes back to its version before, or to `version`. Without `from` the version of
 * the newest deployment is left; where a rollback made that one, what it left, so that repeating a rollback
 * changes nothing.
 */
export function decideRollback(
  active: readonly ActiveDeployment[],
  wanted: { version: string | null; from: string | null },
): RollbackDecision {
  const { version } = wanted;
  const newest = newestOf(active);
  const from = wanted.from ?? (version === null ? newest?.from : null) ?? newest?.version ?? '';
  const moving = active.filter((one) => one.version === from && from !== version);
  if (moving.length === 0) {
    const isDone = active.some((one) => one.from === from || one.version === version);
    return { kind: isDone ? 'unchanged' : 'not_active', from };
  }
  const made: MadeDeployment[] = [];
  for (const one of moving) {
    const to = version ?? one.previous_version;
    if (to === null) return { kind: 'nothing_before', from, target: targetOf(one) };
    made.push(successor(one, { version: to, from }));
  }
  return { kind: 'moves', from, decision: { made, ended: moving.map((one) => one.id) } };
}

/**
 * A rollback on one target alone: of its deployment, else with a deployment of its own for what decides on its
 * nodes now; other nodes keep what they run.
 */
export function decideRollbackOn(
  active: readonly ActiveDeployment[],
  wanted: { target: Target; nodes: readonly NodeFact[]; version: string | null; from: string | null },
): RollbackDecision {
  const { target, nodes, version, from } = wanted;
  const key = targetKey(target);
  const same = active.filter((one) => targetKey(one) === key);
  if (same.length > 0) return decideRollback(same, { version, from });
  const deciding = mostRecentOn(nodes, active, target);
  if (deciding === null) return { kind: 'nowhere', from: from ?? '', target };
  const outcome = decideRollback([deciding], { version, from });
  if (outcome.kind !== 'moves') return outcome;
  const made = outcome.decision.made.map((one) => ({ ...one, target, rank: null, replaces: null }));
  return { ...outcome, decision: { made, ended: [] } };
}

/** The deployment that was made last; its rank may be below others. */
export function newestOf<Item extends { revision: number }>(active: readonly Item[]): Item | null {
  return active.reduce<Item | null>(
    (best, one) => (one.revision > (best?.revision ?? -1) ? one : best),
    null,
  );
}

/** The active deployments after a decision, highest rank first; what is made gets ranks above `rank`. */
export function afterDecision(
  active: readonly ActiveDeployment[],
  { made, ended }: DeployDecision,
  rank: number,
): ActiveDeployment[] {
  const kept = active.filter((one) => !ended.includes(one.id));
  const added = made.map(({ target, version, previous_version, from, rank: given }): ActiveDeployment => {
    return {
      ...targetOf(target),
      id: '',
      version,
      previous_version,
      from,
      rank: given ?? rank,
      revision: rank,
    };
  });
  return ranked([...kept, ...added]);
}

/** What a node runs of the function before and after a change; nodes that never have it are left out. */
export type NodeChange = { node_id: string; pop_id: string; before: string | null; after: string | null };

export function changesOn(
  nodes: readonly NodeFact[],
  before: readonly ActiveDeployment[],
  after: readonly ActiveDeployment[],
): NodeChange[] {
  const [old, next] = [matching(before), matching(after)];
  const changes = nodes.map((node) => ({
    node_id: node.id,
    pop_id: node.pop_id,
    before: decidingOn(old, node)?.version ?? null,
    after: decidingOn(next, node)?.version ?? null,
  }));
  return changes.filter((change) => change.before !== null || change.after !== null);
}

/** Each version before or after, in order, with the nodes that it is added to, removed from, and kept on. */
export type VersionChange = { version: string; added: string[]; removed: string[]; unchanged: string[] };

export function versionChanges(changes: readonly NodeChange[]): VersionChange[] {
  const byVersion = new Map<string, VersionChange>();
  const of = (version: string): VersionChange => {
    const known = byVersion.get(version) ?? { version, added: [], removed: [], unchanged: [] };
    byVersion.set(version, known);
    return known;
  };
  for (const { node_id, before, after } of changes) {
    if (after !== null && before === after) of(after).unchanged.push(node_id);
    else if (after !== null) of(after).added.push(node_id);
    if (before !== null && before !== after) of(before).removed.push(node_id);
  }
  const inOrder = { numeric: true };
  return [...byVersion.values()].sort((a, b) => a.version.localeCompare(b.version, 'en', inOrder));
}

function successor(
  one: ActiveDeployment,
  { version, from }: { version: string; from: string | null },
): MadeDeployment {
  const previous_version = versionBefore(one, version);
  return { target: targetOf(one), version, previous_version, from, rank: one.rank, replaces: one.id };
}

/** What a rollback of `version` deploys: deploying the same version again keeps it. */
function versionBefore(
  one: { version: string; previous_version: string | null },
  version: string,
): string | null {
  return one.version === version ? one.previous_version : one.version;
}

/** The deployment that decides on the nodes that a new target takes over; the newest where there are more. */
function mostRecentOn(
  nodes: readonly NodeFact[],
  active: readonly ActiveDeployment[],
  target: Target,
): ActiveDeployment | null {
  const matches = matchTarget(target);
  const order = matching(active);
  const deciding = new Set(nodes.filter(matches).map((node) => decidingOn(order, node)));
  return order.find((one) => deciding.has(one)) ?? null;
}

function matching(active: readonly ActiveDeployment[]): (ActiveDeployment & { matches: TargetMatch })[] {
  return ranked(active).map((one) => ({ ...one, matches: matchTarget(one) }));
}

function targetOf({ pop_selector, target_pop }: Target): Target {
  return { pop_selector, target_pop };
}
