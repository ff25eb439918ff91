// Writes files so that each is whole or absent after a crash, and reads them up to a bound.
import { constants } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Temporary names start with this, so that the leftovers of a crash are recognized. */
export const TEMPORARY_PREFIX = '.tmp-';

/** Flushes the names in a directory: a rename survives a loss of power only after this. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/**
 * Replaces the file at `path` in one step: a reader sees the old bytes or the new ones, also after a crash.
 * Creates a missing directory with mode 0700. `tag` is part of the temporary name; writers that share a
 * directory need different ones.
 */
export async function writeDurably(
  path: string,
  bytes: Uint8Array | string,
  options: { mode: number; tag: string },
): Promise<void> {
  const directory = dirname(path);
  const temporary = join(directory, `${TEMPORARY_PREFIX}${options.tag}`);
  await mkdir(directory, { recursive: true, mode: 0o700 });
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
  await syncDirectory(directory);
}

/**
 * Renames the file at `path`, whose bytes are flushed already, to `target` on the same file system. Creates a
 * missing directory with mode 0700, and flushes the directory and its parent.
 */
export async function moveDurably(path: string, target: string): Promise<void> {
  const directory = dirname(target);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await rename(path, target);
  await syncDirectory(directory);
  await syncDirectory(dirname(directory));
}

/**
 * The bytes of a regular file of at most `bytesMax`; null where there is none. Throws for anything else,
 * symbolic links included; a FIFO does not make it wait.
 */
export async function readFileBounded(
  path: string,
  bytesMax: number,
): Promise<Uint8Array<ArrayBuffer> | null> {
  let file;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (failure) {
    if (failure instanceof Error && 'code' in failure && failure.code === 'ENOENT') return null;
    throw failure;
  }
  try {
    const facts = await file.stat();
    if (!facts.isFile()) throw new Error('not a regular file');
    if (facts.size > bytesMax) throw new Error(`larger than ${bytesMax} bytes`);
    const bytes = new Uint8Array(new ArrayBuffer(facts.size));
    let length = 0;
    while (length < bytes.length) {
      const { bytesRead } = await file.read(bytes, length, bytes.length - length, length);
      if (bytesRead === 0) throw new Error('cut short while it was read');
      length += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}

/** Errors that cause each other are followed this far. */
const CAUSES_MAX = 8;
/** Of SQLite, and of the file system: no room, no quota, or mounted read-only. */
const FULL: ReadonlySet<string> = new Set(['SQLITE_FULL', 'ENOSPC', 'EDQUOT', 'EROFS']);

/** Whether `failure`, or what caused it, is a disk that is full or read-only: nothing was changed then. */
export function isStorageFull(failure: unknown): boolean {
  let cause = failure;
  for (let depth = 0; cause instanceof Error && depth < CAUSES_MAX; depth += 1) {
    const code = 'code' in cause ? String(cause.code) : '';
    if (FULL.has(code) || code.startsWith('SQLITE_READONLY')) return true;
    ({ cause } = cause);
  }
  return false;
}
