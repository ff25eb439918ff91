// The desired state of every node, kept up to date at a cost that follows what has changed.
import { CONTROL_TUNING } from '../../base/limits/control.ts';
import { canonicalJson } from '../protocol.ts';
import { decidingOn, ranked } from './deploy.ts';
import {
  createDesiredSet,
  type DesiredEntry,
  type DesiredSet,
  entryOf,
  type FunctionFacts,
} from './desired.ts';
import { matchTarget, type NodeFact, type Target, targetKey, type TargetMatch } from '../target/target.ts';

/** What has changed up to `revision`: functions as a whole, all nodes, and ids that remain. */
export type FleetChange = {
  revision: number;
  functions: readonly FunctionFacts[];
  /** All nodes; null where none has changed. */
  nodes: readonly NodeFact[] | null;
  /** The ids of all deployed functions; null where none was deleted. */
  deployed: readonly string[] | null;
};

/** `revision` is that of the last change of this node's desired state. */
export type NodeDesired = { readonly revision: number; readonly set: DesiredSet };

type Choice = { deploymentId: string; matches: TargetMatch; entry: DesiredEntry | null };
/** `isStale`: the set is that of before the node joined, or got other labels. */
type NodeEntry = { node: NodeFact; key: string; set: DesiredSet; isStale: boolean; revision: number };

/** Empty, at revision -1. The desired state of a node is computed when it is asked for the first time. */
export class Fleet {
  readonly #functions = new Map<string, Choice[]>();
  readonly #nodes = new Map<string, NodeEntry>();
  readonly #matchers = createMatchers();
  readonly #empty = createDesiredSet([]);
  #sets = createSetPool([this.#empty]);
  #revision = -1;

  /** Of the last update. */
  get revision(): number {
    return this.#revision;
  }

  isNode(id: string): boolean {
    return this.#nodes.has(id);
  }

  /** Null for an unknown node. */
  desiredOf(nodeId: string): NodeDesired | null {
    const held = this.#nodes.get(nodeId);
    if (held === undefined) return null;
    if (held.isStale) this.#refresh(held);
    return held;
  }

  /** What the node should run of one function; null for nothing. */
  versionOn(nodeId: string, function_id: string): string | null {
    const held = this.#nodes.get(nodeId);
    if (held === undefined) return null;
    return decidingOn(this.#functions.get(function_id) ?? [], held.node)?.entry?.desired.version ?? null;
  }

  /** The nodes on which this active deployment decides, and how many its target matches. */
  reachOf({ id, function_id }: { id: string; function_id: string }): { nodes: NodeFact[]; matched: number } {
    const choices = this.#functions.get(function_id) ?? [];
    const own = choices.find((choice) => choice.deploymentId === id);
    if (own === undefined) return { nodes: [], matched: 0 };
    const matched = Array.from(this.#nodes.values(), ({ node }) => node).filter(own.matches);
    return { nodes: matched.filter((node) => decidingOn(choices, node) === own), matched: matched.length };
  }

  /** Costs an evaluation per node for each function that has changed, and nothing for the others. */
  update({ revision, functions, nodes, deployed }: FleetChange): void {
    this.#revision = revision;
    this.#sets = createSetPool([this.#empty, ...Array.from(this.#nodes.values(), ({ set }) => set)]);
    const changed = new Map(functions.map((facts) => [facts.id, choicesOf(facts, this.#matchers)]));
    const remaining = deployed === null ? null : new Set(deployed);
    for (const id of this.#functions.keys())
      if (remaining !== null && !remaining.has(id) && !changed.has(id)) changed.set(id, []);
    if (nodes !== null) this.#updateNodes(nodes);
    for (const [id, choices] of changed) this.#updateFunction(id, choices);
  }

  #updateNodes(facts: readonly NodeFact[]): void {
    const ids = new Set(facts.map((node) => node.id));
    for (const id of this.#nodes.keys()) if (!ids.has(id)) this.#nodes.delete(id);
    for (const node of facts) {
      const key = canonicalJson([node.pop_id, node.labels]);
      const known = this.#nodes.get(node.id);
      if (known?.key === key) continue;
      const { set, revision } = known ?? { set: this.#empty, revision: this.#revision };
      this.#nodes.set(node.id, { node, key, set, isStale: true, revision });
    }
  }

  #updateFunction(id: string, choices: Choice[]): void {
    const replaced = new Map<DesiredSet, Map<DesiredEntry | null, DesiredSet>>();
    for (const held of this.#nodes.values()) {
      if (held.isStale) continue;
      const after = decidingOn(choices, held.node)?.entry ?? null;
      if (held.set.find(id)?.text === after?.text) continue;
      const known = replaced.get(held.set) ?? new Map<DesiredEntry | null, DesiredSet>();
      replaced.set(held.set, known);
      const next = known.get(after) ?? this.#sets.shared(held.set.with(id, after));
      known.set(after, next);
      held.set = next;
      held.revision = this.#revision;
    }
    if (choices.length === 0) this.#functions.delete(id);
    else this.#functions.set(id, choices);
  }

  #refresh(held: NodeEntry): void {
    held.isStale = false;
    const set = this.#sets.shared(createDesiredSet(this.#entriesOn(held.node)));
    if (set.isSame(held.set)) return;
    held.set = set;
    held.revision = this.#revision;
  }

  /** Evaluates each function on this node, and each target once. */
  #entriesOn(node: NodeFact): DesiredEntry[] {
    const entries: DesiredEntry[] = [];
    const known = new Map<TargetMatch, boolean>();
    const matches = (match: TargetMatch): boolean => {
      const outcome = known.get(match) ?? match(node);
      known.set(match, outcome);
      return outcome;
    };
    for (const choices of this.#functions.values()) {
      const entry = choices.find((choice) => matches(choice.matches))?.entry ?? null;
      if (entry !== null) entries.push(entry);
    }
    return entries;
  }
}

function choicesOf(facts: FunctionFacts, matchers: Matchers): Choice[] {
  return ranked(facts.deployments).map((deployment) => ({
    deploymentId: deployment.id,
    matches: matchers.of(deployment),
    entry: entryOf(facts, deployment.version),
  }));
}

/** Compiles each target once: thousands of functions may share a few. */
type Matchers = { of(target: Target): TargetMatch };

function createMatchers(): Matchers {
  const byKey = new Map<string, TargetMatch>();
  return {
    of(target) {
      const key = targetKey(target);
      const match = byKey.get(key) ?? matchTarget(target);
      if (byKey.size >= CONTROL_TUNING.targetsCompiledMax) byKey.clear();
      byKey.set(key, match);
      return match;
    },
  };
}

/** Gives nodes with the same functions one set. */
type SetPool = { shared(set: DesiredSet): DesiredSet };

function createSetPool(held: readonly DesiredSet[]): SetPool {
  const byHash = new Map<number, DesiredSet[]>();
  const shared = (set: DesiredSet): DesiredSet => {
    const alike = byHash.get(set.hash) ?? [];
    const same = alike.find((one) => one.isSame(set));
    if (same !== undefined) return same;
    byHash.set(set.hash, [...alike, set]);
    return set;
  };
  for (const set of new Set(held)) shared(set);
  return { shared };
}
