// Files that are whole or absent after a crash: written aside, flushed, renamed, and the folder flushed too.
import { constants } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Makes the names in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** What a temporary name starts with, so that leftovers of a crash are told from files. */
export const TEMPORARY_PREFIX = '.tmp-';

/**
 * Replaces `path` at once; a reader sees the old bytes or the new. The folder is made (0700) when it is
 * missing. `tag` names the temporary file and differs between writers of one folder.
 */
export async function writeFileWhole(
  path: string,
  bytes: Uint8Array | string,
  options: { mode: number; tag: string },
): Promise<void> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const temporary = join(folder, `${TEMPORARY_PREFIX}${options.tag}`);
  await rm(temporary, { force: true });
  try {
    const file = await open(temporary, 'wx', options.mode);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (failure) {
    await rm(temporary, { force: true });
    throw failure;
  }
  await syncFolder(folder);
}

/**
 * The bytes of a regular file of at most `bytesMax`; null when there is none. A symbolic link is not
 * followed.
 */
export async function readFileBounded(path: string, bytesMax: number): Promise<Uint8Array | null> {
  let file;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (failure) {
    if (failure instanceof Error && 'code' in failure && failure.code === 'ENOENT') return null;
    throw failure;
  }
  try {
    const facts = await file.stat();
    if (!facts.isFile() || facts.size > bytesMax) throw new Error('not a regular file, or too large');
    return new Uint8Array(await file.readFile());
  } finally {
    await file.close();
  }
}
