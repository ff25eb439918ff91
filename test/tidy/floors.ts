// Rules about who may import whom: floors, cycles, packages, and exports that nobody takes.
import { type Export, type Import, exportsOf, importsOf, packageOf, targetOf } from './modules.ts';
import { type Finding, type Rule, type SourceFile, isProduct, isTypeScript } from './repository.ts';
import type { Scanned, Token } from './tokens.ts';

type Scan = (file: SourceFile) => Scanned;

const BELOW: Readonly<Record<string, readonly string[]>> = {
  base: [],
  model: ['base'],
  store: ['model', 'base'],
  engine: ['model', 'base'],
  control: ['store', 'model', 'base'],
  edge: ['engine', 'model', 'base'],
  cli: ['model', 'base'],
  console: ['model', 'base'],
};

/** Packages with one home; a name ends with `*` where it stands for all that begin so. */
const HOMES: readonly { name: string; homes: readonly string[] }[] = [
  { name: 'bun:ffi', homes: ['src/engine/'] },
  { name: 'bun:sqlite', homes: ['src/store/', 'src/edge/'] },
  { name: 'drizzle-orm', homes: ['src/store/', 'src/edge/'] },
  { name: 'prom-client', homes: ['src/base/'] },
  { name: '@opentelemetry/*', homes: ['src/base/'] },
  { name: 'elysia', homes: ['src/control/'] },
  { name: '@elysiajs/*', homes: ['src/control/'] },
  { name: 'commander', homes: ['src/cli/', 'src/config/'] },
  { name: '@clack/*', homes: ['src/cli/'] },
  { name: '@marcbachmann/cel-js', homes: ['src/model/'] },
];

export function floorsRule(scan: Scan): Rule {
  return (files) =>
    files.filter(isProduct).flatMap((file) =>
      importsOf(scan(file).tokens).flatMap((one) => {
        const target = targetOf(file, one.specifier);
        const sentence = target === null ? null : misplaced(file.path, target);
        return sentence === null ? [] : [{ path: file.path, line: one.line, sentence }];
      }),
    );
}

function misplaced(path: string, target: string): string | null {
  if (!target.startsWith('src/'))
    return target === 'package.json' ? null : `src/ imports ${target}: move what it needs into src/.`;
  const [, folder = ''] = path.split('/');
  const [, other = ''] = target.split('/');
  const below = BELOW[folder];
  if (below === undefined || other === folder || below.includes(other)) return null;
  const allowed = [folder, ...below].map((name) => `${name}/`).join(', ');
  return `${folder}/ imports ${target}: it may use ${allowed} only; hand the rest in as an option.`;
}

export function cyclesRule(scan: Scan): Rule {
  return (files) => {
    const graph = new Map(
      files.filter(isTypeScript).map((file) => {
        const targets = importsOf(scan(file).tokens).map(({ specifier }) => targetOf(file, specifier));
        return [file.path, targets.filter((target) => target !== null)] as const;
      }),
    );
    const done = new Set<string>();
    const findings: Finding[] = [];
    const visit = (path: string, trail: readonly string[]): void => {
      if (done.has(path)) return;
      const from = trail.indexOf(path);
      if (from >= 0) {
        const circle = [...trail.slice(from), path].join(' -> ');
        findings.push({
          path,
          line: 1,
          sentence: `import cycle ${circle}: move what both need into a file below them.`,
        });
        return;
      }
      for (const target of graph.get(path) ?? []) visit(target, [...trail, path]);
      done.add(path);
    };
    for (const path of graph.keys()) visit(path, []);
    return findings;
  };
}

export function packagesRule(
  scan: Scan,
  manifest: { dependencies: string[]; devDependencies: string[] },
): Rule {
  return (files) => {
    const taken = new Set<string>();
    const findings = files.filter(isTypeScript).flatMap((file) =>
      importsOf(scan(file).tokens).flatMap((one): Finding[] => {
        if (targetOf(file, one.specifier) !== null) return [];
        const name = packageOf(one.specifier);
        if (isProduct(file)) taken.add(name);
        const sentence = outOfPlace(file, name, one, manifest);
        return sentence === null ? [] : [{ path: file.path, line: one.line, sentence }];
      }),
    );
    const unused = manifest.dependencies.filter((name) => !taken.has(name));
    const sentence = (name: string): string =>
      `the dependency ${name} is imported nowhere in src/: remove it.`;
    return [
      ...findings,
      ...unused.map((name) => ({ path: 'package.json', line: 1, sentence: sentence(name) })),
    ];
  };
}

function outOfPlace(
  file: SourceFile,
  name: string,
  { specifier }: Import,
  manifest: { dependencies: string[]; devDependencies: string[] },
): string | null {
  if (isProduct(file)) {
    const rule = HOMES.find((one) =>
      one.name.endsWith('*') ? name.startsWith(one.name.slice(0, -1)) : name === one.name,
    );
    const isAtHome = rule === undefined || rule.homes.some((home) => file.path.startsWith(home));
    if (!isAtHome)
      return `${specifier} belongs to ${rule.homes.join(' and ')} only: go through what that folder offers.`;
  }
  if (name.startsWith('node:') || name.startsWith('bun:') || name === 'bun') return null;
  const known = isProduct(file)
    ? manifest.dependencies
    : [...manifest.dependencies, ...manifest.devDependencies];
  return known.includes(name)
    ? null
    : `${name} is not among the ${isProduct(file) ? 'dependencies' : 'packages'} of package.json.`;
}

/** Files that a tool reads by its own path, not by an import. */
const ENTRIES = ['src/main.ts', 'build.ts'];

export function exportsRule(scan: Scan): Rule {
  return (files) => {
    const sources = files.filter(isTypeScript);
    const taken = new Set<string>();
    const whole = new Set<string>(ENTRIES);
    for (const file of sources) {
      for (const one of importsOf(scan(file).tokens)) {
        const target = targetOf(file, one.specifier);
        if (target === null) continue;
        if (one.names === null) whole.add(target);
        for (const name of one.names ?? []) taken.add(`${target} ${name}`);
      }
      for (const token of scan(file).tokens) {
        if (token.kind === 'string' && token.value.startsWith('./src/')) whole.add(token.value.slice(2));
      }
    }
    return sources.flatMap((file) => {
      const { tokens } = scan(file);
      const exported = exportsOf(tokens);
      return exported.flatMap((one): Finding[] => {
        const at = { path: file.path, line: one.line };
        if (one.what === 'default') {
          const isForTool = file.path.endsWith('.config.ts');
          return isForTool ? [] : [{ ...at, sentence: 'default export: give it a name.' }];
        }
        if (one.what === 'again')
          return [{ ...at, sentence: 'an export of an import: import it from where it is made.' }];
        const isTaken = whole.has(file.path) || taken.has(`${file.path} ${one.name}`);
        if (isTaken || (one.what === 'type' && isVocabulary(one.name, exported, tokens))) return [];
        return [{ ...at, sentence: `nobody imports ${one.name}: drop the word export, or the code.` }];
      });
    });
  };
}

/**
 * A type that its own file uses is a word of that file's contract; one that only pairs with a schema goes
 * with it.
 */
function isVocabulary(name: string, exported: readonly Export[], tokens: readonly Token[]): boolean {
  const isPair = exported.some((one) => one.name === name && one.what !== 'type');
  return isPair || tokens.filter((token) => token.text === name && token.kind === 'name').length > 1;
}
