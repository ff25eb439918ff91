// The rule against exports that no other file imports.
import { type Export, exportsOf, importsOf, targetOf } from './modules.ts';
import { type Finding, type Rule, isTypeScript } from './repository.ts';
import type { Scan, Token } from './tokens.ts';

/** Files that a tool reads by its own path, not by an import. */
const ENTRIES = ['src/main.ts', 'build.ts'];

export function exportsRule(scan: Scan): Rule {
  return (files) => {
    const sources = files.filter(isTypeScript);
    const taken = new Set<string>();
    const whole = new Set<string>(ENTRIES);
    for (const file of sources) {
      for (const one of importsOf(scan(file))) {
        const target = targetOf(file, one.specifier);
        if (target === null) continue;
        if (one.names === null) whole.add(target);
        for (const name of one.names ?? []) taken.add(`${target} ${name}`);
      }
      for (const token of scan(file)) {
        if (token.kind === 'string' && token.value.startsWith('./src/')) whole.add(token.value.slice(2));
      }
    }
    return sources.flatMap((file) => {
      const tokens = scan(file);
      const exported = exportsOf(tokens);
      return exported.flatMap((one): Finding[] => {
        const at = { path: file.path, line: one.line };
        if (one.what === 'again')
          return [{ ...at, sentence: 'an export of an import: import it from where it is made.' }];
        const isTaken = whole.has(file.path) || taken.has(`${file.path} ${one.name}`);
        if (isTaken || (one.what === 'type' && isVocabulary(one.name, exported, tokens))) return [];
        return [{ ...at, sentence: `no file imports ${one.name}: drop the word export, or the code.` }];
      });
    });
  };
}

/** Whether a type belongs to the contract of its file: the file uses it, or pairs it with a schema. */
function isVocabulary(name: string, exported: readonly Export[], tokens: readonly Token[]): boolean {
  const isPair = exported.some((one) => one.name === name && one.what !== 'type');
  return isPair || tokens.filter((token) => token.text === name && token.kind === 'name').length > 1;
}
