// The words `and`, `or` and `not` in selectors: turned into operators before the expression is parsed.

/** `text` is the expression that is parsed; `sourceAt` maps a position in it to one in the source. */
export type Spelled = { text: string; sourceAt(position: number): number };

type Token = { text: string; start: number; end: number };

/** A string with its quotes and prefix, a name or number, an operator of two characters, any other character. */
const TOKEN =
  /[rRbB]{0,2}(?:"""[^]*?"""|'''[^]*?'''|"(?:\\[^]|[^"\\])*"|'(?:\\[^]|[^'\\])*')|[A-Za-z0-9_]+|&&|\|\||==|!=|<=|>=|\S/g;

const OPENING = new Set(['(', '[', '{']);
const CLOSING = new Set([')', ']', '}']);
/** What ends the operand of `not` at its own depth. */
const OPERAND_ENDS = new Set(['&&', '||', '?', ':', ',']);
const OPERATORS: ReadonlyMap<string, string> = new Map([
  ['and', '&&'],
  ['or', '||'],
  ['not', 'not'],
]);

/** Names that mean something in every selector, so that no label may have them. */
export const RESERVED_LABELS: ReadonlySet<string> = new Set(
  'and or not in true false null node_id pop_id'.split(' '),
);

/**
 * `not` binds weaker than a comparison and stronger than `and`, as people read it: `not a == b` is
 * `!(a == b)`. The words may be written in capitals.
 */
export function spellWords(source: string): Spelled {
  const text: string[] = [];
  const origins: number[] = [];
  const add = (part: string, start: number): void => {
    for (let at = 0; at < part.length; at += 1) {
      text.push(part.charAt(at));
      origins.push(start + (part === source.slice(start, start + part.length) ? at : 0));
    }
  };
  /** Depths at which a `not` waits for the end of its operand. */
  const waiting: number[] = [];
  let depth = 0;
  const closeAt = (start: number): void => {
    while (waiting.at(-1) === depth) {
      waiting.pop();
      add(')', start);
    }
  };
  let reached = 0;
  for (const token of tokensOf(source)) {
    add(source.slice(reached, token.start), reached);
    reached = token.end;
    const ends = OPERAND_ENDS.has(token.text) || CLOSING.has(token.text);
    if (ends) closeAt(token.start);
    if (OPENING.has(token.text)) depth += 1;
    if (CLOSING.has(token.text)) depth -= 1;
    if (token.text !== 'not') {
      add(token.text, token.start);
      continue;
    }
    add('!(', token.start);
    waiting.push(depth);
  }
  closeAt(source.length);
  return { text: text.join(''), sourceAt: (position) => origins[position] ?? source.length };
}

/** The same text for two selectors that differ in white space and in how operators are spelled only. */
export function canonicalSelector(source: string): string {
  return tokensOf(source)
    .map((token) => token.text)
    .join(' ');
}

/** The tokens of a selector, words as operators; a name after a dot stays a name. */
function tokensOf(source: string): Token[] {
  let before = '';
  return Array.from(source.matchAll(TOKEN), (match) => {
    const operator = before === '.' ? undefined : OPERATORS.get(match[0].toLowerCase());
    before = match[0];
    return { text: operator ?? match[0], start: match.index, end: match.index + match[0].length };
  });
}
