// The target of a deployment: which nodes it is for, and when two targets are the same.
import type { Labels } from '../names.ts';
import { compileSelector, type Selector, type SelectorNode } from './selector.ts';
import { canonicalSelector } from './selector_words.ts';

/** Both conditions hold where both are given; with neither it is for every node. */
export type Target = { pop_selector: string | null; target_pop: readonly string[] | null };

/** A node as targets see it: what its join token or an operator says of it. */
export type NodeFact = { id: string; pop_id: string; labels: Labels };

export type TargetMatch = (node: SelectorNode) => boolean;

export const EVERY_NODE: Target = { pop_selector: null, target_pop: null };

/** What a request names; null where it names nothing. The selector `true` is every node. */
export function requestedTarget(request: {
  pop_selector?: string | undefined;
  target_pop?: string[] | undefined;
}): Target | null {
  const { pop_selector, target_pop } = request;
  if (pop_selector === undefined && target_pop === undefined) return null;
  const isTrue = pop_selector !== undefined && canonicalSelector(pop_selector) === 'true';
  return { pop_selector: isTrue ? null : (pop_selector ?? null), target_pop: target_pop ?? null };
}

export function isEveryNode({ pop_selector, target_pop }: Target): boolean {
  return pop_selector === null && target_pop === null;
}

/** Equal for two targets exactly where they are the same: the order of pops and white space do not count. */
export function targetKey({ pop_selector, target_pop }: Target): string {
  const selector = pop_selector === null ? null : canonicalSelector(pop_selector);
  return JSON.stringify([selector, target_pop === null ? null : [...new Set(target_pop)].sort()]);
}

/** A selector that this release does not accept matches no node, rather than every node. */
export function matchTarget({ pop_selector, target_pop }: Target): TargetMatch {
  const pops = target_pop === null ? null : new Set(target_pop);
  const selector = pop_selector === null ? null : storedSelector(pop_selector);
  return (node) => (pops === null || pops.has(node.pop_id)) && (selector === null || selector.matches(node));
}

function storedSelector(source: string): Selector {
  const outcome = compileSelector(source);
  return outcome.ok ? outcome.selector : { source, matches: () => false };
}

/** For people: `every node`, `pop nrt`, `pops fra, nrt`, `region == 'tokyo'`. */
export function describeTarget({ pop_selector, target_pop }: Target): string {
  const pops =
    target_pop === null ? [] : [`pop${target_pop.length === 1 ? '' : 's'} ${target_pop.join(', ')}`];
  const parts = [...pops, ...(pop_selector === null ? [] : [pop_selector])];
  return parts.length === 0 ? 'every node' : parts.join(' and ');
}
