// Selectors: bounded, typed CEL expressions over a node's labels, its id and its pop.
import { type ASTNode, Environment, ParseError, TypeError as CelTypeError } from '@marcbachmann/cel-js';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import type { Labels } from '../names.ts';
import { type KnownLabels, labelType, type LabelType, unfitLabel, unknownLabel } from './selector_labels.ts';
import { spellWords } from './selector_words.ts';

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
 * Parses and type-checks `source`. Without `known` the type of a label is known only on a node, so a label
 * passes as every type; on a node where the label is absent or of an unfit type the expression is false. With
 * `known` each name must be a label of some node, and fit with a type that it has there.
 */
export function compileSelector(source: string, known?: KnownLabels): SelectorOutcome {
  const { selectorLengthMax } = FUNCTION_BOUNDS;
  if (source.length > selectorLengthMax) {
    const message = `A selector has at most ${selectorLengthMax} characters.`;
    return refuse(message, selectorLengthMax, source.length);
  }
  const { text, sourceAt } = spellWords(source);
  const outcome = compile(source, text, known);
  if (outcome.ok) return outcome;
  const { start, end } = outcome.position;
  return refuse(outcome.message, sourceAt(start), end >= text.length ? source.length : sourceAt(end));
}

/** Positions are those in `text`, the expression as it is parsed. */
function compile(source: string, text: string, known: KnownLabels | undefined): SelectorOutcome {
  try {
    const evaluate = createEnvironment({}).parse(text);
    const call = forbiddenCall(evaluate.ast);
    if (call !== null)
      return refuse(`The function "${call.name}" is not offered in selectors.`, call.start, call.end);
    const checked = evaluate.check();
    if (!checked.valid) return refusalOf(checked.error, text);
    if (checked.type !== 'bool' && checked.type !== 'dyn') {
      const type = checked.type ?? 'unknown';
      return refuse(`A selector must be true or false; this one is of type ${type}.`, 0, text.length);
    }
    const misfit = known === undefined ? null : checkLabels(text, evaluate.ast, known);
    if (misfit !== null) return misfit;
    return { ok: true, selector: { source, matches: (node) => isTrue(() => evaluate(contextOf(node))) } };
  } catch (failure) {
    return refusalOf(failure, text);
  }
}

/** `types` are of labels; the others pass as every type. */
function createEnvironment(types: Readonly<Record<string, LabelType>>): Environment {
  const environment = new Environment({
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
  for (const [name, type] of Object.entries(types)) environment.registerVariable(name, type);
  return environment;
}

/**
 * Null where every name is known and fits. Each label is checked alone, with each of its types in turn: one
 * that fits is enough, since nodes may differ, and a whole number may be compared with a fraction.
 */
function checkLabels(text: string, ast: unknown, known: KnownLabels): SelectorOutcome | null {
  const names = new Map<string, { start: number; end: number }>();
  collectNames(ast, names);
  for (const [name, { start, end }] of names) {
    if (name === 'node_id' || name === 'pop_id') continue;
    const label = known.get(name);
    if (label === undefined) return refuse(unknownLabel(name, known), start, end);
    let misfit: SelectorOutcome | null = null;
    for (const type of typesToTry(label.types)) {
      const checked = createEnvironment({ [name]: type })
        .parse(text)
        .check();
      const fits = checked.valid && (checked.type === 'bool' || checked.type === 'dyn');
      if (fits) misfit = null;
      if (fits) break;
      const { range, summary = 'a selector must be true or false' } = checked.error ?? {};
      misfit ??= refuse(unfitLabel(name, known, summary), range?.start ?? 0, range?.end ?? text.length);
    }
    if (misfit !== null) return misfit;
  }
  return null;
}

function typesToTry(types: ReadonlySet<LabelType>): Set<LabelType> {
  const isNumber = types.has('int') || types.has('double');
  return new Set([...types, ...(isNumber ? (['int', 'double'] as const) : [])]);
}

/** Each variable with the place where it first stands. */
function collectNames(node: unknown, names: Map<string, { start: number; end: number }>): void {
  if (Array.isArray(node)) for (const item of node) collectNames(item, names);
  if (!isAstNode(node)) return;
  if (node.op === 'id' && typeof node.args === 'string' && !names.has(node.args))
    names.set(node.args, node.range);
  if (node.op !== 'id') collectNames(node.args, names);
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
    context[name] = labelType(value) === 'int' ? BigInt(value) : value;
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
