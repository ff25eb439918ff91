// The desired state of one node: a pure function of the node and of what users asked for.
import type { VersionSettings } from '../function.ts';
import type { RouteRule } from '../route.ts';
import { canonicalJson, type DesiredFunction, type DesiredState } from '../protocol.ts';
import type { Selector, SelectorNode } from './selector.ts';

/** Where a deployment goes: both conditions hold where both are given; with neither, every node. */
export type DeploymentTarget = { selector: Selector | null; target_pop: readonly string[] | null };

export type DeploymentFact = DeploymentTarget & { function_id: string; version: string };
export type FunctionFact = { id: string; project_id: string; name: string };
export type VersionFact = {
  function_id: string;
  version: string;
  settings: VersionSettings;
  sha256: string;
  size_bytes: number;
};
export type RouteFact = RouteRule & { id: string; function_id: string };

/** `deployments` are the active ones, one per function; `versions` are published. Order does not matter. */
export type Facts = {
  deployments: readonly DeploymentFact[];
  functions: readonly FunctionFact[];
  versions: readonly VersionFact[];
  routes: readonly RouteFact[];
};

/** Whether a deployment with this target runs on this node. */
export function isTargeted(node: SelectorNode, target: DeploymentTarget): boolean {
  if (target.target_pop !== null && !target.target_pop.includes(node.pop_id)) return false;
  return target.selector === null || target.selector.matches(node);
}

/** What every node that a deployment targets receives for it, by function id, ordered by function id. */
export function desiredFunctions(facts: Facts): { deployment: DeploymentFact; desired: DesiredFunction }[] {
  const functions = new Map(facts.functions.map((fact) => [fact.id, fact]));
  const versions = new Map(facts.versions.map((fact) => [`${fact.function_id} ${fact.version}`, fact]));
  const routes = Map.groupBy(facts.routes, (route) => route.function_id);
  const ordered = [...facts.deployments].sort((a, b) => (a.function_id < b.function_id ? -1 : 1));
  const result: { deployment: DeploymentFact; desired: DesiredFunction }[] = [];
  for (const deployment of ordered) {
    const owner = functions.get(deployment.function_id);
    const version = versions.get(`${deployment.function_id} ${deployment.version}`);
    if (owner === undefined || version === undefined) continue;
    result.push({ deployment, desired: describe(owner, version, routes.get(owner.id) ?? []) });
  }
  return result;
}

/** The functions whose deployment targets the node, ordered by id; routes ordered by id, which is by age. */
export function desiredFor(node: SelectorNode, facts: Facts): DesiredState {
  const targeted = desiredFunctions(facts).filter(({ deployment }) => isTargeted(node, deployment));
  return { functions: targeted.map(({ desired }) => desired) };
}

/** SHA-256 in hex over the canonical JSON: what `applied_digest` and `digest` of the heartbeat hold. */
export function desiredDigest(desired: DesiredState): string {
  return new Bun.CryptoHasher('sha256').update(canonicalJson(desired)).digest('hex');
}

function describe(owner: FunctionFact, version: VersionFact, routes: readonly RouteFact[]): DesiredFunction {
  const ordered = [...routes].sort((a, b) => (a.id < b.id ? -1 : 1));
  return {
    function_id: owner.id,
    project_id: owner.project_id,
    name: owner.name,
    version: version.version,
    artifact_url: `/api/v1/artifacts/${owner.id}/${version.version}`,
    sha256: version.sha256,
    size_bytes: version.size_bytes,
    settings: version.settings,
    routes: ordered.map(({ host, path, methods, priority }) => ({ host, path, methods, priority })),
  };
}
