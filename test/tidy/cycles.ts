// The rule against import cycles, imports of types included.
import { importsOf, targetOf } from './modules.ts';
import { type Finding, type Rule, isTypeScript } from './repository.ts';
import type { Scan } from './tokens.ts';

export function cyclesRule(scan: Scan): Rule {
  return (files) => {
    const graph = new Map(
      files.filter(isTypeScript).map((file) => {
        const targets = importsOf(scan(file)).map(({ specifier }) => targetOf(file, specifier));
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
