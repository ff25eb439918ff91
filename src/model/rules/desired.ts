// The desired state of a node: a pure rule over the node and over what users asked for.
import { CONTROL_TUNING } from '../../base/limits/control.ts';
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

/** `digest` is what `applied_digest` and `digest` of the heartbeat hold. */
export type NodeDesired = { readonly desired: DesiredState; readonly digest: string };

export type DesiredFor = (node: SelectorNode) => NodeDesired;

/**
 * Returns the pure rule `desiredFor(node)` over these facts: the functions whose deployment targets the node,
 * ordered by id, their routes ordered by id, which is by age. The work that is the same for every node is
 * done once here, and nodes with the same functions share one result, which callers must not change.
 */
export function createDesiredFor(facts: Facts): DesiredFor {
  const deployed = deployedFunctions(facts);
  const results = new Map<string, NodeDesired>();
  return (node) => {
    const targeted: number[] = [];
    for (const [index, { deployment }] of deployed.entries()) {
      if (isTargeted(node, deployment)) targeted.push(index);
    }
    const key = targeted.join();
    const known = results.get(key);
    if (known !== undefined) return known;
    const desired = { functions: targeted.flatMap((index) => deployed[index]?.desired ?? []) };
    const result = { desired, digest: desiredDigest(desired) };
    if (results.size < CONTROL_TUNING.desiredSetsMax) results.set(key, result);
    return result;
  };
}

/** Whether a deployment with this target runs on this node. */
export function isTargeted(node: SelectorNode, target: DeploymentTarget): boolean {
  if (target.target_pop !== null && !target.target_pop.includes(node.pop_id)) return false;
  return target.selector === null || target.selector.matches(node);
}

/** SHA-256 in hex over the canonical JSON. */
export function desiredDigest(desired: DesiredState): string {
  return new Bun.CryptoHasher('sha256').update(canonicalJson(desired)).digest('hex');
}

type Deployed = { deployment: DeploymentFact; desired: DesiredFunction };

/** What every targeted node receives for a deployment; leaves out deployments of unpublished versions. */
function deployedFunctions(facts: Facts): Deployed[] {
  const functions = new Map(facts.functions.map((fact) => [fact.id, fact]));
  const versions = new Map(facts.versions.map((fact) => [`${fact.function_id} ${fact.version}`, fact]));
  const routes = Map.groupBy(facts.routes, (route) => route.function_id);
  const ordered = [...facts.deployments].sort((a, b) => (a.function_id < b.function_id ? -1 : 1));
  const deployed: Deployed[] = [];
  for (const deployment of ordered) {
    const owner = functions.get(deployment.function_id);
    const version = versions.get(`${deployment.function_id} ${deployment.version}`);
    if (owner === undefined || version === undefined) continue;
    deployed.push({ deployment, desired: describe(owner, version, routes.get(owner.id) ?? []) });
  }
  return deployed;
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
