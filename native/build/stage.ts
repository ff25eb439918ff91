// The working directory of the build, and the stamps that say which of its steps are done.
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export type Stage = {
  dir: string;
  /** libwasmedge, what it needs, and the two native libraries: files under their sonames. */
  libraryDir: string;
  includeDir: string;
  /** What the executable embeds as a directory named `assets`. */
  assetsDir: string;
  asset(name: string): string;
  /** Whether `step` was kept with this stamp and every output exists; if not, its stamp is dropped. */
  isCurrent(step: string, stamp: string, outputs: readonly string[]): Promise<boolean>;
  keep(step: string, stamp: string): Promise<void>;
};

export async function openStage(dir: string): Promise<Stage> {
  const [libraryDir, includeDir, assetsDir] = ['lib', 'include', 'assets'].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [libraryDir, includeDir, assetsDir]) await mkdir(path, { recursive: true });
  const stampPath = (step: string): string => join(dir, `${step.replaceAll(' ', '-')}.stamp`);
  return {
    dir,
    libraryDir,
    includeDir,
    assetsDir,
    asset: (name) => join(assetsDir, name),
    async isCurrent(step, stamp, outputs) {
      const kept = await readFile(stampPath(step), 'utf8').catch(() => '');
      const isCurrent = kept.trim() === stamp && outputs.every((path) => existsSync(path));
      if (!isCurrent) await rm(stampPath(step), { force: true });
      return isCurrent;
    },
    keep: (step, stamp) => writeFile(stampPath(step), `${stamp}\n`),
  };
}
