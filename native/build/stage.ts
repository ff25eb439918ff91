// The working directory of the build, with a stamp for each step that is done.
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export type Stage = {
  dir: string;
  /** libwasmedge, what it needs, and the two native libraries: files under their sonames. */
  libraryDir: string;
  includeDir: string;
  /** The files that the executable embeds as the directory `assets`. */
  assetsDir: string;
  asset(name: string): string;
  /** Whether `step` was kept with this stamp and every output exists; if not, drops the stamp of the step. */
  isCurrent(step: string, stamp: string, outputs: readonly string[]): Promise<boolean>;
  /** Records that `step` is done for the inputs of this stamp. */
  keep(step: string, stamp: string): Promise<void>;
};

export async function openStage(dir: string): Promise<Stage> {
  const libraryDir = join(dir, 'lib');
  const includeDir = join(dir, 'include');
  const assetsDir = join(dir, 'assets');
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
