// The rule about who may import whom between the floors of src/.
import { type Import, importsOf, targetOf } from './modules.ts';
import { type Rule, isProduct } from './repository.ts';
import type { Scan } from './tokens.ts';

/** The floors from top to bottom, each with the floors below it that its files may import. */
const FLOORS: ReadonlyMap<string, readonly string[]> = new Map([
  ['program', ['config', 'cli', 'console', 'control', 'edge', 'store', 'engine', 'model', 'base']],
  ['config', ['model', 'base']],
  ['cli', ['model', 'base']],
  ['console', ['model', 'base']],
  ['control', ['store', 'model', 'base']],
  ['edge', ['engine', 'model', 'base']],
  ['store', ['model', 'base']],
  ['engine', ['model', 'base']],
  ['model', ['base']],
  ['base', []],
]);

/** What main.ts may load itself: its inputs and the engine role. The program brings everything else. */
const OF_ENTRY = /^src\/(config\/inputs|engine\/process\/role(_\w+)?)\.ts$/;
const PROGRAM = 'src/program/program.ts';

/** Whether src/ may have this entry. */
export function isFloor(name: string): boolean {
  return FLOORS.has(name) || name === 'main.ts';
}

export function floorsRule(scan: Scan): Rule {
  return (files) =>
    files.filter(isProduct).flatMap((file) =>
      importsOf(scan(file)).flatMap((one) => {
        const target = targetOf(file, one.specifier);
        const sentence = target === null ? null : misplaced(file.path, target, one);
        return sentence === null ? [] : [{ path: file.path, line: one.line, sentence }];
      }),
    );
}

function misplaced(path: string, target: string, { isStatic }: Import): string | null {
  if (!target.startsWith('src/'))
    return target === 'package.json' ? null : `src/ imports ${target}: move what it needs into src/.`;
  const [, floor = ''] = path.split('/');
  const [, other = ''] = target.split('/');
  if (floor === 'main.ts') {
    if (OF_ENTRY.test(target) || (target === PROGRAM && !isStatic)) return null;
    return `main.ts imports ${target}: let program/program.ts load it, so that the engine role does not.`;
  }
  const below = FLOORS.get(floor) ?? [];
  if (other === floor || below.includes(other)) return null;
  const allowed = [floor, ...below].map((name) => `${name}/`).join(', ');
  return `${floor}/ imports ${target}: it may use ${allowed} only; hand the rest in as an option.`;
}
