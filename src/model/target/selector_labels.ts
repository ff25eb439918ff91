// Checks a selector against the labels that nodes have: unknown names, unfit types, and what was meant.
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import type { Labels } from '../names.ts';

/** A type of the expression language. */
export type LabelType = 'string' | 'int' | 'double' | 'bool';

/** What the nodes of a fleet say under one name. */
type KnownLabel = { types: ReadonlySet<LabelType>; examples: readonly string[] };

/** By name, `node_id` and `pop_id` included. */
export type KnownLabels = ReadonlyMap<string, KnownLabel>;

const EXAMPLES_MAX = 8;
const NAMES_SHOWN_MAX = 20;

/** What selectors can read of these nodes. */
export function knownLabels(nodes: Iterable<{ id: string; pop_id: string; labels: Labels }>): KnownLabels {
  const known = new Map<string, { types: Set<LabelType>; examples: string[] }>();
  const add = (name: string, value: string | number | boolean): void => {
    const held = known.get(name) ?? { types: new Set(), examples: [] };
    known.set(name, held);
    held.types.add(labelType(value));
    const text = String(value);
    if (held.examples.length < EXAMPLES_MAX && !held.examples.includes(text)) held.examples.push(text);
  };
  for (const { id, pop_id, labels } of nodes) {
    for (const [name, value] of Object.entries(labels)) add(name, value);
    add('node_id', id);
    add('pop_id', pop_id);
  }
  return known;
}

export function labelType(value: string | number | boolean): LabelType {
  if (typeof value === 'string') return 'string';
  if (typeof value === 'boolean') return 'bool';
  return Number.isSafeInteger(value) ? 'int' : 'double';
}

/** `region (osaka, tokyo), gpu (true)`; the sentence part that shows what a selector could have named. */
export function describeLabels(known: KnownLabels): string {
  const shown = [...known].filter(([name]) => name !== 'node_id').sort(([a], [b]) => (a < b ? -1 : 1));
  const parts = shown
    .slice(0, NAMES_SHOWN_MAX)
    .map(([name, { examples }]) => `${name} (${examples.toSorted().join(', ')})`);
  if (shown.length > NAMES_SHOWN_MAX) parts.push(`and ${shown.length - NAMES_SHOWN_MAX} more`);
  return parts.join(', ');
}

/** The sentence for a name that no node has as a label. */
export function unknownLabel(name: string, known: KnownLabels): string {
  const [holder] = [...known].find(([, { examples }]) => examples.includes(name)) ?? [];
  if (holder !== undefined) return `No node has the label "${name}"; did you mean the text '${name}'?`;
  const near = nearest(name, [...known.keys()]);
  if (near !== null) return `No node has the label "${name}"; did you mean ${near}?`;
  if (known.size === 0) return `No node has the label "${name}": no node has joined yet.`;
  return `No node has the label "${name}": nodes have ${describeLabels(known)}.`;
}

const TYPE_WORDS: Record<LabelType, string> = {
  string: 'text',
  int: 'a number',
  double: 'a number',
  bool: 'true or false',
};

/** The sentence for a label that is used as another type than it has; `reason` is that of the checker. */
export function unfitLabel(name: string, known: KnownLabels, reason: string): string {
  const label = known.get(name);
  const words = new Set([...(label?.types ?? [])].map((type) => TYPE_WORDS[type]));
  const held = `${[...words].join(' or ')}, such as ${label?.examples[0] ?? 'none'}`;
  return `The label "${name}" is ${held}, and does not fit here (${reason.replace('no such overload: ', '')}).`;
}

/** The candidate that is the fewest edits from `given`, where they are few for its length; else null. */
export function nearest(given: string, candidates: readonly string[]): string | null {
  if (given.length > FUNCTION_BOUNDS.nameLengthMax) return null;
  const editsMax = Math.max(1, Math.floor(given.length / 3));
  let best: { name: string; edits: number } | null = null;
  for (const name of candidates) {
    if (name === given || Math.abs(name.length - given.length) > editsMax) continue;
    const edits = editDistance(given.toLowerCase(), name.toLowerCase());
    if (edits <= editsMax && (best === null || edits < best.edits)) best = { name, edits };
  }
  return best?.name ?? null;
}

/** Insertions, deletions, replacements and swaps of neighbours. */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, at) => at)];
  for (let i = 1; i <= a.length; i += 1) {
    const [above = [], twoAbove = []] = [rows[i - 1], rows[i - 2]];
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let edits = Math.min((above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (above[j - 1] ?? 0) + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        edits = Math.min(edits, (twoAbove[j - 2] ?? 0) + 1);
      row.push(edits);
    }
    rows.push(row);
  }
  return rows[a.length]?.[b.length] ?? Math.max(a.length, b.length);
}
