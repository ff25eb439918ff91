// Rules about length: files, functions and lines of TypeScript and C.
import { type Finding, type Rule, type SourceFile, isNative, isTypeScript } from './repository.ts';
import type { Scanned, Token } from './tokens.ts';

const FILE_LINES_MAX = 400;
const FUNCTION_LINES_MAX = 70;
const COLUMNS_MAX = 110;

export const sizesRule: Rule = (files) =>
  files
    .filter((file) => isTypeScript(file) || isNative(file))
    .flatMap((file) => {
      const lines = file.text.replace(/\n$/, '').split('\n');
      const findings: Finding[] = [];
      if (lines.length > FILE_LINES_MAX) {
        const sentence = `${lines.length} lines, ${FILE_LINES_MAX} at most: split it at its second noun.`;
        findings.push({ path: file.path, line: lines.length, sentence });
      }
      lines.forEach((line, at) => {
        const columns = [...line].length;
        if (columns <= COLUMNS_MAX) return;
        const sentence = `${columns} columns, ${COLUMNS_MAX} at most: break the line.`;
        findings.push({ path: file.path, line: at + 1, sentence });
      });
      return findings;
    });

export function functionsRule(scan: (file: SourceFile) => Scanned): Rule {
  return (files) =>
    files.flatMap((file) => {
      if (isTypeScript(file)) return functionsOf(scan(file).tokens).flatMap((one) => tooLong(file, one));
      return isNative(file) ? nativeFunctionsOf(file.text).flatMap((one) => tooLong(file, one)) : [];
    });
}

type Span = { name: string; first: number; last: number };

function tooLong(file: SourceFile, { name, first, last }: Span): Finding[] {
  const lines = last - first + 1;
  if (lines <= FUNCTION_LINES_MAX) return [];
  const sentence = `${name} has ${lines} lines, ${FUNCTION_LINES_MAX} at most: give one of its steps a name.`;
  return [{ path: file.path, line: first, sentence }];
}

const NOT_FUNCTIONS = new Set([
  'if',
  'for',
  'while',
  'switch',
  'catch',
  'with',
  'return',
  'await',
  'typeof',
  'in',
  'of',
]);

/** Bodies of functions, methods and arrows, without the groups of a test file (`describe`). */
function functionsOf(tokens: readonly Token[]): Span[] {
  const spans: Span[] = [];
  tokens.forEach((token, at) => {
    if (token.text === '=>' && tokens[at + 1]?.text === '{') {
      const close = closing(tokens, at + 1);
      if (!isGroup(tokens, at))
        spans.push({ name: nameOfArrow(tokens, at), first: token.line, last: lineOf(tokens, close) });
      return;
    }
    if (token.text !== '(' || !isHead(tokens, at)) return;
    const body = bodyAfter(tokens, closing(tokens, at) + 1);
    if (body === null) return;
    spans.push({
      name: tokens[at - 1]?.text ?? '',
      first: token.line,
      last: lineOf(tokens, closing(tokens, body)),
    });
  });
  return spans;
}

/** Whether the bracket at `at` may open the parameters of a function or method. */
function isHead(tokens: readonly Token[], at: number): boolean {
  const before = tokens[at - 1];
  if (before === undefined || NOT_FUNCTIONS.has(before.text)) return false;
  return before.kind === 'name' || before.kind === 'keyword' || before.text === ']' || before.text === '>';
}

/** The brace of a body right at `at` or after a return type; null where there is none. */
function bodyAfter(tokens: readonly Token[], at: number): number | null {
  if (tokens[at]?.text === '{') return at;
  if (tokens[at]?.text !== ':') return null;
  let expectsType = true;
  for (let i = at + 1; i < tokens.length; i += 1) {
    const token = tokens[i];
    if (token === undefined) return null;
    if (token.text === '{' && !expectsType) return i;
    if (token.text === '{' || token.text === '(' || token.text === '[' || token.text === '<') {
      i = token.text === '<' ? closingAngle(tokens, i) : closing(tokens, i);
      expectsType = false;
    } else if (['|', '&', '=>', '.', '?', ':'].includes(token.text)) expectsType = true;
    else if (TYPE_WORDS.has(token.text)) expectsType = true;
    else if (token.kind === 'mark' || (!expectsType && token.kind !== 'keyword')) return null;
    else expectsType = token.text === 'is' || token.text === 'extends';
  }
  return null;
}

const TYPE_WORDS = new Set(['asserts', 'keyof', 'readonly', 'typeof', 'unique', 'infer', 'is', 'extends']);

function closing(tokens: readonly Token[], open: number): number {
  const depth = tokens[open]?.depth ?? 0;
  for (let i = open + 1; i < tokens.length; i += 1) if (tokens[i]?.depth === depth) return i;
  return tokens.length - 1;
}

function closingAngle(tokens: readonly Token[], open: number): number {
  let angles = 0;
  for (let i = open; i < tokens.length; i += 1) {
    const text = tokens[i]?.text;
    if (text === '<') angles += 1;
    if (text === '>') angles -= 1;
    if (angles === 0) return i;
  }
  return tokens.length - 1;
}

function opening(tokens: readonly Token[], close: number): number {
  const depth = tokens[close]?.depth ?? 0;
  for (let i = close - 1; i >= 0; i -= 1)
    if (tokens[i]?.depth === depth && tokens[i + 1]?.depth !== depth) return i;
  return 0;
}

/** `const name = (…) => {` gives `name`; any other arrow is "a function". */
function nameOfArrow(tokens: readonly Token[], at: number): string {
  for (let i = at - 1; i >= Math.max(0, at - 80); i -= 1) {
    if (tokens[i]?.text === 'const' && tokens[i]?.depth === tokens[at]?.depth)
      return tokens[i + 1]?.text ?? '';
    if (tokens[i]?.text === ';') break;
  }
  return 'a function';
}

/** Whether the arrow at `at` is the last argument of `describe(…)` or `describe.each(…)(…)`. */
function isGroup(tokens: readonly Token[], at: number): boolean {
  const depth = tokens[at]?.depth ?? 0;
  let open = at;
  while (open >= 0 && !(tokens[open]?.text === '(' && tokens[open]?.depth === depth - 1)) open -= 1;
  let head = open - 1;
  while (head > 0 && tokens[head]?.text === ')') head = opening(tokens, head) - 1;
  while (head > 0 && tokens[head - 1]?.text === '.') head -= 2;
  return tokens[head]?.text === 'describe';
}

function lineOf(tokens: readonly Token[], at: number): number {
  return tokens[at]?.line ?? 0;
}

/** Functions of C as this project writes them: the body's last brace stands alone in the first column. */
function nativeFunctionsOf(text: string): Span[] {
  const spans: Span[] = [];
  let head = -1;
  let name = '';
  text.split('\n').forEach((line, at) => {
    const start = /^[A-Za-z_][A-Za-z0-9_ *]*?\b([A-Za-z_][A-Za-z0-9_]*)\(/.exec(line);
    if (start !== null && !line.startsWith('#')) [head, name] = [at + 1, start[1] ?? ''];
    if (/^[^\s].*;\s*$/.test(line) && !line.startsWith('}')) head = -1;
    if (line.startsWith('}') && head > 0) {
      spans.push({ name, first: head, last: at + 1 });
      head = -1;
    }
  });
  return spans;
}
