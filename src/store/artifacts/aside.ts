// Files that are set aside: those that no version names, and damaged ones.
import { lstat, lutimes, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { moveDurably } from '../../base/durable.ts';
import { ARTIFACT_BOUNDS, ARTIFACT_TUNING } from '../../base/limits/control.ts';
import { isAbsent, namesIn } from './disk.ts';

/** Moves a file into `folder`, as of `nowMs`; one of the same name there is replaced. */
export async function moveAside(path: string, folder: string, nowMs: number): Promise<void> {
  const target = join(folder, basename(path));
  await rm(target, { force: true, recursive: true });
  try {
    await lutimes(path, nowMs / 1_000, nowMs / 1_000);
    await moveDurably(path, target);
  } catch (failure) {
    if (!isAbsent(failure)) throw failure;
  }
}

/** Whether there was a file at `path`; it is then at `target`. */
export async function moveBack(path: string, target: string): Promise<boolean> {
  try {
    await rename(path, target);
    return true;
  } catch (failure) {
    if (isAbsent(failure)) return false;
    throw failure;
  }
}

/** Deletes the files that were set aside long ago, or, where a clock was put back, long from now. */
export async function dropOld(folder: string, nowMs: number): Promise<void> {
  let left = ARTIFACT_BOUNDS.dropsPerPassMax;
  for (const name of await namesIn(folder)) {
    const path = join(folder, name);
    const { mtimeMs } = await lstat(path);
    if (Math.abs(nowMs - mtimeMs) < ARTIFACT_TUNING.orphanGraceMs) continue;
    await rm(path, { force: true, recursive: true });
    left -= 1;
    if (left === 0) return;
  }
}

/** Keeps the newest few, for an operator who searches for the reason. */
export async function dropOldest(folder: string): Promise<void> {
  const files: { path: string; mtimeMs: number }[] = [];
  for (const name of await namesIn(folder)) {
    const path = join(folder, name);
    files.push({ path, mtimeMs: (await lstat(path)).mtimeMs });
  }
  files.sort((a, b) => b.mtimeMs - a.mtimeMs);
  for (const { path } of files.slice(ARTIFACT_BOUNDS.damagedFilesMax)) {
    await rm(path, { force: true, recursive: true });
  }
}
