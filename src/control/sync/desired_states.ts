// The desired states at the present revision: read from the store once per revision, for all nodes.
import {
  createDesiredFor,
  type DeploymentFact,
  type DeploymentTarget,
  type DesiredFor,
} from '../../model/rules/desired.ts';
import { compileSelector, type Selector } from '../../model/rules/selector.ts';
import type { Store } from '../../store/store.ts';
import type { Notifier } from './notifier.ts';

/** The nodes and their desired states at one revision. */
export type DesiredSnapshot = {
  readonly revision: number;
  isNode(id: string): boolean;
  readonly desiredFor: DesiredFor;
};

export type DesiredStates = { snapshot(): Promise<DesiredSnapshot> };

/** Reads the facts again only once `revisions` has risen. */
export function createDesiredStates(options: {
  facts: Pick<Store['facts'], 'read'>;
  revisions: Pick<Notifier, 'version'>;
}): DesiredStates {
  const { facts, revisions } = options;
  let latest: { version: number; snapshot: Promise<DesiredSnapshot> } | null = null;
  return {
    async snapshot() {
      const { version } = revisions;
      if (latest?.version === version) return await latest.snapshot;
      const snapshot = readSnapshot(facts);
      latest = { version, snapshot };
      try {
        return await snapshot;
      } catch (failure) {
        latest = null;
        throw failure;
      }
    },
  };
}

async function readSnapshot(facts: Pick<Store['facts'], 'read'>): Promise<DesiredSnapshot> {
  const stored = await facts.read();
  const deployments = stored.deployments.map((row): DeploymentFact => {
    return { ...targetOf(row), function_id: row.function_id, version: row.version };
  });
  const { functions, versions, routes } = stored;
  const nodes = new Set(stored.node_ids);
  return {
    revision: stored.revision,
    isNode: (id) => nodes.has(id),
    desiredFor: createDesiredFor({ deployments, functions, versions, routes }),
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

/** A stored selector that this release does not accept matches no node, rather than every node. */
function storedSelector(source: string): Selector {
  const outcome = compileSelector(source);
  return outcome.ok ? outcome.selector : { source, matches: () => false };
}
