// Whether a new target makes sense for the nodes that there are: its names, its types, its pops, its matches.
import { compileSelector } from './selector.ts';
import { describeLabels, knownLabels, nearest } from './selector_labels.ts';
import { describeTarget, matchTarget, type NodeFact, type Target } from './target.ts';

/** `message` says what is wrong and what to do; `details` holds `reason`, `start` and `end` of a selector. */
export type TargetRefusal = {
  code: 'selector_invalid' | 'no_matching_nodes';
  message: string;
  details?: Record<string, unknown>;
};

const ALLOW = 'allow_empty (--allow-empty) deploys for nodes that join later';
const NAMES_SHOWN_MAX = 20;

/** Null where the target may be used. With `allowEmpty` a selector may name labels that no node has. */
export function refusalOfTarget(
  target: Target,
  nodes: readonly NodeFact[],
  { allowEmpty }: { allowEmpty: boolean },
): TargetRefusal | null {
  const { pop_selector, target_pop } = target;
  const isChecked = !allowEmpty && nodes.length > 0;
  if (pop_selector !== null) {
    const outcome = compileSelector(pop_selector, isChecked ? knownLabels(nodes) : undefined);
    if (!outcome.ok) return invalidSelector(outcome.message, outcome.position);
  }
  if (allowEmpty) return null;
  if (nodes.length === 0) return refusalOfNoNode();
  const pops = new Set(nodes.map((node) => node.pop_id));
  const unknown = target_pop?.find((pop) => !pops.has(pop));
  if (unknown !== undefined) return refusalOfPop(unknown, [...pops].sort());
  return nodes.some(matchTarget(target)) ? null : refusalOfNoMatch([target], nodes);
}

/** For targets that a function has already: refused where together they match no node. */
export function refusalOfTargets(
  targets: readonly Target[],
  nodes: readonly NodeFact[],
  { allowEmpty }: { allowEmpty: boolean },
): TargetRefusal | null {
  if (allowEmpty) return null;
  if (nodes.length === 0) return refusalOfNoNode();
  const isMatched = targets.map(matchTarget).some((matches) => nodes.some(matches));
  return isMatched ? null : refusalOfNoMatch(targets, nodes);
}

/** `position` counts from 0, the sentence from 1. */
export function invalidSelector(reason: string, position: { start: number; end: number }): TargetRefusal {
  const message = `The selector is wrong at character ${position.start + 1}: ${reason}`;
  return { code: 'selector_invalid', message, details: { reason, ...position } };
}

function refusalOfNoNode(): TargetRefusal {
  const message = `No node has joined yet, so nothing would run: start one with \`edge join-token\`, or ${ALLOW}.`;
  return { code: 'no_matching_nodes', message };
}

function refusalOfPop(unknown: string, pops: readonly string[]): TargetRefusal {
  const near = nearest(unknown, pops);
  const meant = near === null ? '' : `; did you mean ${near}?`;
  const shown = pops.slice(0, NAMES_SHOWN_MAX).join(', ');
  const more = pops.length > NAMES_SHOWN_MAX ? ` and ${pops.length - NAMES_SHOWN_MAX} more` : '';
  const message = `No node stands in the pop ${unknown}${meant} There are ${shown}${more}; ${ALLOW}.`;
  return {
    code: 'no_matching_nodes',
    message: meant === '' ? message.replace(' There', '. There') : message,
  };
}

function refusalOfNoMatch(targets: readonly Target[], nodes: readonly NodeFact[]): TargetRefusal {
  const wanted = targets.map(describeTarget).join('; ');
  const known = describeLabels(knownLabels(nodes));
  return { code: 'no_matching_nodes', message: `No node matches ${wanted}. Nodes have ${known}; ${ALLOW}.` };
}
