// Rules about what a file says: banned calls, pure rules, captions, names, and state at module level.
import { type Finding, type Rule, isC, isProduct, isTypeScript } from './repository.ts';
import type { Scan, Token } from './tokens.ts';

const ENTRY = ['src/main.ts', 'src/program/'];

/** `spell` is a sequence of tokens that only `homes` may have: in src/, or with `everywhere` in all files. */
type Ban = { spell: string; homes: readonly string[]; within: 'product' | 'everywhere'; instead: string };

const BANS: readonly Ban[] = [
  { spell: 'Date . now (', homes: ['src/base/'], within: 'product', instead: 'take a Clock as an option' },
  { spell: 'new Date ( )', homes: ['src/base/'], within: 'product', instead: 'take a Clock as an option' },
  {
    spell: 'performance . now (',
    homes: ['src/base/'],
    within: 'product',
    instead: 'take a Clock as an option',
  },
  {
    spell: 'Math . random',
    homes: ['src/base/'],
    within: 'everywhere',
    instead: 'take the randomness as an option',
  },
  {
    spell: 'process . env',
    homes: ['src/config/inputs.ts'],
    within: 'product',
    instead: 'add a setting to src/config/',
  },
  {
    spell: 'process . argv',
    homes: ['src/config/inputs.ts'],
    within: 'product',
    instead: 'add a setting to src/config/',
  },
  { spell: 'Bun . env', homes: [], within: 'product', instead: 'add a setting to src/config/' },
  { spell: 'Bun . argv', homes: [], within: 'product', instead: 'add a setting to src/config/' },
  { spell: 'import . meta . env', homes: [], within: 'product', instead: 'add a setting to src/config/' },
  {
    spell: 'process . stdout',
    homes: ['src/base/', ...ENTRY],
    within: 'product',
    instead: 'take a log or a terminal as an option',
  },
  {
    spell: 'process . stderr',
    homes: ['src/base/', ...ENTRY],
    within: 'product',
    instead: 'take a log or a terminal as an option',
  },
];

export function bansRule(scan: Scan): Rule {
  return (files) =>
    files.filter(isTypeScript).flatMap((file) => {
      const tokens = scan(file);
      return BANS.flatMap(({ spell, homes, within, instead }): Finding[] => {
        const isFree = isProduct(file)
          ? homes.some((home) => file.path.startsWith(home))
          : within === 'product';
        if (isFree) return [];
        const words = spell.split(' ');
        const sentence = `${words.join('').replace('new', 'new ')} outside its home: ${instead}.`;
        return placesOf(tokens, words).map((line) => ({ path: file.path, line, sentence }));
      });
    });
}

function placesOf(tokens: readonly Token[], words: readonly string[]): number[] {
  const starts = tokens.flatMap((_, at) =>
    words.every((word, more) => tokens[at + more]?.text === word) ? [at] : [],
  );
  return starts
    .filter((at) => !['.', '?.'].includes(tokens[at - 1]?.text ?? ''))
    .map((at) => tokens[at]?.line ?? 0);
}

const IMPURE = new Set([
  'await',
  'async',
  'process',
  'Bun',
  'fetch',
  'setTimeout',
  'setInterval',
  'setImmediate',
]);

/** Files of model/ do not wait, do no I/O and set no timers. */
export function purityRule(scan: Scan): Rule {
  return (files) =>
    files
      .filter((file) => file.path.startsWith('src/model/') && isTypeScript(file))
      .flatMap((file) => {
        const tokens = scan(file);
        const impure = tokens.filter((token, at) => {
          if (token.kind === 'string')
            return token.value.startsWith('node:') && token.value !== 'node:crypto';
          const isMember = ['.', '?.'].includes(tokens[at - 1]?.text ?? '') || tokens[at + 1]?.text === ':';
          const isDigest = token.text === 'Bun' && tokens[at + 2]?.text === 'CryptoHasher';
          return (
            !isDigest &&
            IMPURE.has(token.text) &&
            (token.kind === 'name' || token.kind === 'keyword') &&
            !isMember
          );
        });
        return impure.map(({ line, text }) => ({
          path: file.path,
          line,
          sentence: `${text} in model/: rules are pure; let the caller do it and hand in what comes out.`,
        }));
      });
}

const CAPTION_COLUMNS_MAX = 110;

/** A sentence; a file name may be its first word. */
const SENTENCE = /^([A-Z`'"]|\w+[._]\w).*\.$/;

/** The first comment says what the file is for: in one line of TypeScript, or in the first line of C. */
export const captionsRule: Rule = (files) =>
  files
    .filter((file) => isTypeScript(file) || isC(file))
    .flatMap((file): Finding[] => {
      const hasCaption = isTypeScript(file) ? isOneLine(file.text) : opensWithSentence(file.text);
      if (hasCaption) return [];
      const form = `a sentence in one line of at most ${CAPTION_COLUMNS_MAX} columns`;
      const sentence = `no caption: open the file with ${form} that says what it is for.`;
      return [{ path: file.path, line: 1, sentence }];
    });

function isOneLine(text: string): boolean {
  const [first = '', second = ''] = text.replace(/^#!.*\n/, '').split('\n');
  const isShort = Array.from(first).length <= CAPTION_COLUMNS_MAX;
  return first.startsWith('// ') && SENTENCE.test(first.slice(3)) && isShort && !second.startsWith('//');
}

/** Whether the first line with words in the first comment is a sentence. */
function opensWithSentence(text: string): boolean {
  const first = /^(?:\/\/ |\/\*+\s*(?:\*\s)?\s*)(.*)/.exec(text)?.[1] ?? '';
  return SENTENCE.test(first.replace(/\s*\*\/$/, ''));
}

const FILE_NAMES = /(^|\/)(utils?|helpers?|types|common|misc|index|shared)\.ts$/;

export const namesRule: Rule = (files) =>
  files.filter(isTypeScript).flatMap((file) => {
    if (!FILE_NAMES.test(file.path)) return [];
    return [
      { path: file.path, line: 1, sentence: 'this name says nothing: name the file after its one noun.' },
    ];
  });

/** No `let` at module level, and no `private` or `protected` members; oxlint finds what else is not plain. */
export function stateRule(scan: Scan): Rule {
  return (files) =>
    files.filter(isTypeScript).flatMap((file) => {
      const tokens = scan(file);
      return tokens.flatMap((token, at): Finding[] => {
        const sentence = accessWord(tokens, at) ?? (isProduct(file) ? moduleState(token) : null);
        return sentence === null ? [] : [{ path: file.path, line: token.line, sentence }];
      });
    });
}

function accessWord(tokens: readonly Token[], at: number): string | null {
  const token = tokens[at];
  if (token?.kind !== 'keyword' || tokens[at + 1]?.kind !== 'name') return null;
  return ['private', 'protected'].includes(token.text) ? `${token.text}: use a #name.` : null;
}

function moduleState(token: Token): string | null {
  const isState = token.text === 'let' && token.kind === 'keyword' && token.depth === 0;
  return isState ? 'let at module level: hold the state in what a createX returns.' : null;
}
