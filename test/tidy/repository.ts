// Reads the repository as git sees it: every tracked or untracked file that is not ignored, with its text.
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const ROOT = resolve(import.meta.dir, '../..');

/** `path` is relative to the root, with forward slashes. */
export type SourceFile = { path: string; text: string };

/** What a rule finds at a place; `sentence` says what to do instead. */
export type Finding = { path: string; line: number; sentence: string };

export type Rule = (files: readonly SourceFile[]) => Finding[];

const TEXT =
  /\.(ts|c|h|rs|json|md|sh|toml|yml|yaml|sql|lock|wat)$|(^|\/)(LICENSE|\.gitignore|run|bootstrap)$/;

/** Paths of all files, and the text of those that hold text. */
export function readRepository(): { paths: string[]; files: SourceFile[] } {
  const command = ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  const listed = Bun.spawnSync(command, { cwd: ROOT, stdout: 'pipe', stderr: 'pipe' });
  if (!listed.success) throw new Error(`git ls-files: ${listed.stderr.toString()}`);
  const paths = [...new Set(listed.stdout.toString().split('\0'))].filter((path) => path !== '');
  const present = paths.filter((path) => existsSync(join(ROOT, path))).toSorted();
  const texts = present.filter((path) => TEXT.test(path));
  return {
    paths: present,
    files: texts.map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') })),
  };
}

/** TypeScript of the product, its tests and its build; the guests in fixtures/ are AssemblyScript. */
export function isTypeScript(file: SourceFile): boolean {
  return file.path.endsWith('.ts') && !file.path.startsWith('fixtures/');
}

/** C of the product, its tests and the guests. */
export function isC(file: SourceFile): boolean {
  return /\.[ch]$/.test(file.path);
}

export function isNative(file: SourceFile): boolean {
  return /\.[ch]$/.test(file.path) && file.path.startsWith('native/');
}

export function isProduct(file: SourceFile): boolean {
  return isTypeScript(file) && file.path.startsWith('src/');
}
