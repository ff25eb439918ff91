// The rule about packages: package.json lists each, and some may be imported in one folder only.
import { type Import, importsOf, packageOf, targetOf } from './modules.ts';
import { type Finding, type Rule, type SourceFile, isProduct, isTypeScript } from './repository.ts';
import type { Scan } from './tokens.ts';

/** The folders that may import a package; a `*` stands for the rest of its name. */
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

export function packagesRule(
  scan: Scan,
  manifest: { dependencies: string[]; devDependencies: string[] },
): Rule {
  return (files) => {
    const taken = new Set<string>();
    const findings = files.filter(isTypeScript).flatMap((file) =>
      importsOf(scan(file)).flatMap((one): Finding[] => {
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
