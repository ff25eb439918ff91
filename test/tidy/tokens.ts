// Splits TypeScript into tokens with TypeScript's own scanner, so that rules never mistake text for code.
import { SyntaxKind } from 'typescript/unstable/ast';
import { createScanner } from 'typescript/unstable/ast/scanner';
import type { SourceFile } from './repository.ts';

/** `text` is as written, `value` is what a string holds, `depth` counts the open brackets before it. */
export type Token = {
  kind: 'name' | 'keyword' | 'string' | 'template' | 'number' | 'regex' | 'mark';
  text: string;
  value: string;
  line: number;
  depth: number;
};

/** The tokens of a file, comments left out. */
export type Scan = (file: SourceFile) => readonly Token[];

const TRIVIA = new Set([
  SyntaxKind.WhitespaceTrivia,
  SyntaxKind.NewLineTrivia,
  SyntaxKind.SingleLineCommentTrivia,
  SyntaxKind.MultiLineCommentTrivia,
]);
const OPEN = new Set(['(', '[', '{', '${']);
const CLOSE = new Set([')', ']', '}']);

/** Rules share one scan of each text. */
export function createScan(): Scan {
  const known = new Map<string, Token[]>();
  return (file) => {
    const held = known.get(file.text) ?? scan(file.text);
    known.set(file.text, held);
    return held;
  };
}

function scan(source: string): Token[] {
  const scanner = createScanner(false, 0, source);
  const tokens: Token[] = [];
  const templates: number[] = [];
  let depth = 0;
  let line = 1;
  let counted = 0;
  const lineAt = (at: number): number => {
    for (; counted < at; counted += 1) if (source.charCodeAt(counted) === 10) line += 1;
    return line;
  };
  for (;;) {
    let kind = scanner.scan();
    if (kind === SyntaxKind.EndOfFile) return tokens;
    if (TRIVIA.has(kind)) continue;
    const startLine = lineAt(scanner.getTokenStart());
    const isSlash = kind === SyntaxKind.SlashToken || kind === SyntaxKind.SlashEqualsToken;
    if (isSlash && !endsExpression(tokens.at(-1))) kind = scanner.reScanSlashToken();
    const resumes = kind === SyntaxKind.CloseBraceToken && templates.at(-1) === depth - 1;
    if (resumes) kind = scanner.reScanTemplateToken(false);
    const text = scanner.getTokenText();
    const opensTemplate = kind === SyntaxKind.TemplateHead || kind === SyntaxKind.TemplateMiddle;
    if (CLOSE.has(text) || resumes) depth -= 1;
    if (resumes && !opensTemplate) templates.pop();
    tokens.push({ kind: kindOf(kind), text, value: scanner.getTokenValue(), line: startLine, depth });
    if (kind === SyntaxKind.TemplateHead) templates.push(depth);
    if (OPEN.has(text) || opensTemplate) depth += 1;
  }
}

function kindOf(kind: SyntaxKind): Token['kind'] {
  if (kind === SyntaxKind.Identifier || kind === SyntaxKind.PrivateIdentifier) return 'name';
  if (kind === SyntaxKind.StringLiteral) return 'string';
  if (kind === SyntaxKind.NumericLiteral || kind === SyntaxKind.BigIntLiteral) return 'number';
  if (kind === SyntaxKind.RegularExpressionLiteral) return 'regex';
  const isTemplate = kind >= SyntaxKind.NoSubstitutionTemplateLiteral && kind <= SyntaxKind.TemplateTail;
  if (isTemplate) return 'template';
  return kind >= SyntaxKind.FirstKeyword && kind <= SyntaxKind.LastKeyword ? 'keyword' : 'mark';
}

/** Whether an operator after this token is a binary or postfix one. */
function endsExpression(token: Token | undefined): boolean {
  if (token === undefined) return false;
  if (token.kind === 'mark') return token.text === ')' || token.text === ']' || token.text === '}';
  return token.kind !== 'keyword' || VALUE_KEYWORDS.has(token.text);
}

/** Keywords that stand for a value, or that are ordinary names in most places. */
const VALUE_KEYWORDS = new Set([
  'this',
  'super',
  'null',
  'true',
  'false',
  'undefined',
  'any',
  'as',
  'async',
  'constructor',
  'declare',
  'from',
  'get',
  'is',
  'module',
  'namespace',
  'number',
  'object',
  'of',
  'set',
  'string',
  'symbol',
  'type',
]);
