// Selectors: bounded, typed CEL expressions over a node's labels, its id and its pop.
import { type ASTNode, Environment, ParseError, TypeError as CelTypeError } from '@marcbachmann/cel-js';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import type { Labels } from '../names.ts';

/** What a selector reads of a node. Its `id` and `pop_id` win over labels named `node_id` and `pop_id`. */
export type SelectorNode = { id: string; pop_id: string; labels: Labels };

/** A checked expression; `matches` never throws. */
export type Selector = { readonly source: string; matches(node: SelectorNode): boolean };

/** `message` is a sentence; `position` counts UTF-16 code units from the start of the expression. */
export type SelectorOutcome =
  { ok: true; selector: Selector } | { ok: false; message: string; position: { start: number; end: number } };

/**
 * The functions and methods that a selector may call: the lengths of labels and literals bound their cost.
 * Regular expressions and list macros are left out, since with them a short expression can run for hours.
 */
const CALLS_ALLOWED = new Set([
  'size',
  'startsWith',
  'endsWith',
  'contains',
  'int',
  'double',
  'string',
  'bool',
  'dyn',
]);

/**
 * Parses and type-checks `source`. The type of a label is known only on a node, so a label passes as every
 * type; on a node where the label is absent or of an unfit type the expression is false.
 */
export function compileSelector(source: string): SelectorOutcome {
  if (source.length > FUNCTION_BOUNDS.selectorLengthMax) {
    return refuse(
      `A selector has at most ${FUNCTION_BOUNDS.selectorLengthMax} characters.`,
      FUNCTION_BOUNDS.selectorLengthMax,
      source.length,
    );
  }
  const environment = createEnvironment();
  try {
    const evaluate = environment.parse(source);
    const call = forbiddenCall(evaluate.ast);
    if (call !== null)
      return refuse(`The function "${call.name}" is not offered in selectors.`, call.start, call.end);
    const checked = evaluate.check();
    if (!checked.valid) return refusalOf(checked.error, source);
    if (checked.type !== 'bool' && checked.type !== 'dyn') {
      return refuse(
        `A selector must be true or false; this one is of type ${checked.type ?? 'unknown'}.`,
        0,
        source.length,
      );
    }
    return { ok: true, selector: { source, matches: (node) => isTrue(() => evaluate(contextOf(node))) } };
  } catch (failure) {
    return refusalOf(failure, source);
  }
}

function createEnvironment(): Environment {
  return new Environment({
    unlistedVariablesAreDyn: true,
    limits: {
      maxAstNodes: FUNCTION_BOUNDS.selectorNodesMax,
      maxDepth: FUNCTION_BOUNDS.selectorDepthMax,
      maxListElements: FUNCTION_BOUNDS.selectorNodesMax,
      maxMapEntries: FUNCTION_BOUNDS.labelsMax,
      maxCallArguments: 4,
    },
  })
    .registerVariable('node_id', 'string')
    .registerVariable('pop_id', 'string');
}

function isTrue(evaluate: () => unknown): boolean {
  try {
    return evaluate() === true;
  } catch {
    return false;
  }
}

/** Integers become CEL ints, so that arithmetic with integer literals type-checks at run time. */
function contextOf(node: SelectorNode): Record<string, unknown> {
  const context = Object.create(null) as Record<string, unknown>;
  for (const [name, value] of Object.entries(node.labels)) {
    context[name] = typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value;
  }
  context['node_id'] = node.id;
  context['pop_id'] = node.pop_id;
  return context;
}

type ForbiddenCall = { name: string; start: number; end: number };

function forbiddenCall(node: unknown): ForbiddenCall | null {
  if (Array.isArray(node)) {
    for (const item of node) {
      const found = forbiddenCall(item);
      if (found !== null) return found;
    }
    return null;
  }
  if (!isAstNode(node)) return null;
  if (node.op === 'call' || node.op === 'rcall') {
    const name = String(node.args[0]);
    if (!CALLS_ALLOWED.has(name)) return { name, start: node.range.start, end: node.range.end };
  }
  return forbiddenCall(node.args);
}

function isAstNode(value: unknown): value is ASTNode {
  return value !== null && typeof value === 'object' && 'op' in value && 'args' in value;
}

function refuse(message: string, start: number, end: number): SelectorOutcome {
  return { ok: false, message, position: { start, end } };
}

function refusalOf(failure: unknown, source: string): SelectorOutcome {
  if (failure instanceof ParseError || failure instanceof CelTypeError) {
    return refuse(`${failure.summary}.`, failure.range?.start ?? 0, failure.range?.end ?? source.length);
  }
  return refuse('The expression could not be read.', 0, source.length);
}
