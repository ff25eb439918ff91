// The desired state of every node at the present revision, worked out once per set of functions.
import { CONTROL_TUNING } from '../../base/limits/control.ts';
import {
  type DeploymentTarget,
  desiredDigest,
  type DeploymentFact,
  desiredFunctions,
  isTargeted,
} from '../../model/rules/desired.ts';
import type { DesiredFunction, DesiredState } from '../../model/protocol.ts';
import { compileSelector, type Selector, type SelectorNode } from '../../model/rules/selector.ts';
import type { FactOperations, StoredFacts } from '../../store/facts.ts';
import type { Notifier } from './notifier.ts';

export type NodeDesired = { desired: DesiredState; digest: string };

/** One revision of all facts. `desiredOf` equals the pure `desiredFor` over the same facts. */
export type DesiredSnapshot = {
  readonly revision: number;
  isNode(id: string): boolean;
  desiredOf(node: SelectorNode): NodeDesired;
};

export type DesiredStates = { snapshot(): Promise<DesiredSnapshot> };

/** `revised` moves with every revision: while it stands, what was read is still true, and nothing is read. */
export function createDesiredStates(options: {
  facts: Pick<FactOperations, 'read'>;
  revised: Pick<Notifier, 'version'>;
}): DesiredStates {
  const { facts, revised } = options;
  let held: { version: number; snapshot: Promise<DesiredSnapshot> } | null = null;
  const read = async (): Promise<DesiredSnapshot> => {
    const stored = await facts.read();
    const deployments = stored.deployments.map((row): DeploymentFact => {
      return { ...targetOf(row), function_id: row.function_id, version: row.version };
    });
    return createSnapshot(stored, desiredFunctions({ ...stored, deployments }));
  };
  return {
    async snapshot() {
      const { version } = revised;
      if (held?.version === version) return await held.snapshot;
      const snapshot = read();
      held = { version, snapshot };
      try {
        return await snapshot;
      } catch (failure) {
        held = null;
        throw failure;
      }
    },
  };
}

/** Where a stored deployment goes; its selector was checked when it was made. */
export function targetOf(row: {
  pop_selector: string | null;
  target_pop: string[] | null;
}): DeploymentTarget {
  const { pop_selector, target_pop } = row;
  return { target_pop, selector: pop_selector === null ? null : storedSelector(pop_selector) };
}

/**
 * A selector that an earlier program accepted and this one does not matches no node, rather than every node.
 */
function storedSelector(source: string): Selector {
  const outcome = compileSelector(source);
  return outcome.ok ? outcome.selector : { source, matches: () => false };
}

function createSnapshot(
  { revision, node_ids }: StoredFacts,
  entries: readonly { deployment: DeploymentFact; desired: DesiredFunction }[],
): DesiredSnapshot {
  const bySet = new Map<string, NodeDesired>();
  const nodes = new Set(node_ids);
  return {
    revision,
    isNode: (id) => nodes.has(id),
    desiredOf(node) {
      const chosen = entries.flatMap(({ deployment }, index) =>
        isTargeted(node, deployment) ? [index] : [],
      );
      const key = chosen.join();
      const known = bySet.get(key);
      if (known !== undefined) return known;
      const desired = { functions: chosen.flatMap((index) => entries[index]?.desired ?? []) };
      const made = { desired, digest: desiredDigest(desired) };
      if (bySet.size < CONTROL_TUNING.desiredSetsMax) bySet.set(key, made);
      return made;
    },
  };
}
