// Reads the imports and exports of a TypeScript file from its tokens, and resolves relative imports.
import { dirname, join } from 'node:path';
import type { SourceFile } from './repository.ts';
import type { Token } from './tokens.ts';

/**
 * `names` is null if everything is imported: a namespace, a dynamic import, or one for its side effect. A
 * static import is loaded with the file, unlike a dynamic one or one of types.
 */
export type Import = { specifier: string; names: string[] | null; line: number; isStatic: boolean };

/** `again` is an export of an import. Default exports are left out. */
export type Export = { name: string; line: number; what: 'value' | 'type' | 'again' };

export function importsOf(tokens: readonly Token[]): Import[] {
  const found: Import[] = [];
  tokens.forEach((token, at) => {
    if (token.text !== 'import' || token.kind !== 'keyword' || tokens[at - 1]?.text === '.') return;
    const next = tokens[at + 1];
    if (next?.text === '.') return;
    if (next?.text === '(') {
      const specifier = tokens[at + 2];
      const isFixed = specifier?.kind === 'string' && tokens[at + 3]?.text === ')';
      if (!isFixed) return;
      const names = memberOf(tokens, at);
      found.push({ specifier: specifier.value, names, line: token.line, isStatic: false });
      return;
    }
    const end = tokens.findIndex(
      (one, index) => index > at && one.kind === 'string' && isAfterFrom(tokens, index, at),
    );
    const specifier = tokens[end];
    if (specifier === undefined) return;
    const clause = tokens.slice(at + 1, end);
    const isStatic = next?.text !== 'type';
    found.push({ specifier: specifier.value, names: namesOf(clause), line: token.line, isStatic });
  });
  return found;
}

/** The name in `import('x').Name`, which a type uses. */
function memberOf(tokens: readonly Token[], at: number): string[] | null {
  const member = tokens[at + 5];
  return tokens[at + 4]?.text === '.' && member !== undefined && member.text !== 'then'
    ? [member.text]
    : null;
}

function isAfterFrom(tokens: readonly Token[], index: number, importAt: number): boolean {
  return tokens[index - 1]?.text === 'from' || index === importAt + 1;
}

function namesOf(clause: readonly Token[]): string[] | null {
  if (clause.length === 0 || clause.some((token) => token.text === '*')) return null;
  const names: string[] = [];
  const open = clause.findIndex((token) => token.text === '{');
  const outside = (open < 0 ? clause : clause.slice(0, open)).filter((token) => token.kind === 'name');
  if (outside.length > 0) names.push('default');
  const inside = open < 0 ? [] : clause.slice(open + 1, -2);
  let isFirst = true;
  inside.forEach((token, at) => {
    if (token.text === ',') isFirst = true;
    else if (isFirst && !(token.text === 'type' && isNameLike(inside[at + 1]))) {
      names.push(token.text);
      isFirst = false;
    }
  });
  return names;
}

function isNameLike(token: Token | undefined): boolean {
  return token !== undefined && (token.kind === 'name' || token.kind === 'keyword') && token.text !== 'as';
}

const DECLARATIONS: Readonly<Record<string, Export['what']>> = {
  function: 'value',
  class: 'value',
  const: 'value',
  let: 'value',
  var: 'value',
  type: 'type',
  interface: 'type',
  enum: 'type',
  namespace: 'type',
};

export function exportsOf(tokens: readonly Token[]): Export[] {
  const found: Export[] = [];
  tokens.forEach((token, at) => {
    if (token.text !== 'export' || token.kind !== 'keyword' || token.depth !== 0) return;
    const { line } = token;
    const next = tokens[at + 1];
    if (next?.text === 'default') return;
    const afterType = next?.text === 'type' ? tokens[at + 2] : next;
    if (next?.text === '*' || afterType?.text === '{') {
      found.push({ name: next?.text ?? '', line, what: 'again' });
      return;
    }
    const word = tokens.slice(at + 1, at + 4).findIndex(({ text }) => text in DECLARATIONS);
    const declared = tokens[at + 1 + word];
    const star = tokens[at + 2 + word]?.text === '*' ? 1 : 0;
    const name = tokens[at + 2 + word + star];
    const what = DECLARATIONS[declared?.text ?? ''];
    if (word >= 0 && name !== undefined && what !== undefined) found.push({ name: name.text, line, what });
  });
  return found;
}

/** The path from the root that a relative specifier names; null for a package. */
export function targetOf(file: SourceFile, specifier: string): string | null {
  return specifier.startsWith('.') ? join(dirname(file.path), specifier) : null;
}

/** `@scope/name/part` and `name/part` without the part; `node:` and `bun` names as they are. */
export function packageOf(specifier: string): string {
  if (specifier.startsWith('node:') || specifier.startsWith('bun:')) return specifier;
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}
