// The rule about who may import whom between the floors of src/.
import { importsOf, targetOf } from './modules.ts';
import { type Rule, isProduct } from './repository.ts';
import type { Scan } from './tokens.ts';

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

export function floorsRule(scan: Scan): Rule {
  return (files) =>
    files.filter(isProduct).flatMap((file) =>
      importsOf(scan(file)).flatMap((one) => {
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
