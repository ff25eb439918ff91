// A small file that survives damage: it has a previous copy, and a disk that refuses is tried again.
import { rename, rm } from 'node:fs/promises';
import { basename } from 'node:path';
import { readFileBounded, writeDurably } from '../../base/durable.ts';
import type { RandomBytes } from '../../base/id.ts';
import type { Log } from '../../base/log.ts';

export type KeptFile<T> = {
  /** The newest good copy; null where there is none. Never rejects: the log says what is damaged. */
  load(): Promise<T | null>;
  /**
   * Keeps `bytes` and, as the previous copy, what was kept before. False where the disk refuses, which is
   * logged once: the caller tries again later, and the last good copy stays. Calls must not overlap.
   */
  store(bytes: Uint8Array | string): Promise<boolean>;
};

/** Both copies are private (0600). `parse` returns null for bytes that are damaged. */
export function createKeptFile<T>(options: {
  path: string;
  bytesMax: number;
  parse: (bytes: Uint8Array) => T | null;
  random: RandomBytes;
  log: Log;
}): KeptFile<T> {
  const { path, bytesMax, parse, random, log } = options;
  const previous = `${path}.previous`;
  const file = basename(path);
  let isFailing = false;
  /** The copies that this process has read or written, and found good. */
  const good = new Set<string>();
  const read = async (copy: string): Promise<T | null> => {
    try {
      const bytes = await readFileBounded(copy, bytesMax);
      if (bytes === null) return null;
      const value = parse(bytes);
      if (value === null) log.error('a file is damaged', { file: basename(copy) });
      else good.add(copy);
      return value;
    } catch (failure) {
      log.error('a file cannot be read', { file: basename(copy), error: String(failure) });
      return null;
    }
  };
  const write = async (copy: string, bytes: Uint8Array | string): Promise<void> => {
    const tag = Buffer.from(random(8)).toString('hex');
    await writeDurably(copy, bytes, { mode: 0o600, tag });
    good.add(copy);
  };
  const isGood = async (copy: string): Promise<boolean> => good.has(copy) || (await read(copy)) !== null;
  const replace = async (bytes: Uint8Array | string): Promise<void> => {
    if (!(await isGood(previous))) await setAside(previous);
    if (!(await isGood(path))) await setAside(path);
    else await rename(path, previous).then(() => good.add(previous));
    good.delete(path);
    await write(path, bytes);
    if (!good.has(previous)) await write(previous, bytes);
  };
  return {
    async load() {
      const value = await read(path);
      if (value !== null) return value;
      const older = await read(previous);
      if (older !== null) log.warn('a previous copy of a file is used', { file });
      return older;
    },
    async store(bytes) {
      try {
        await replace(bytes);
        if (isFailing) log.info('a file can be written again', { file });
        isFailing = false;
        return true;
      } catch (failure) {
        if (!isFailing) log.error('a file cannot be written', { file, error: String(failure) });
        isFailing = true;
        return false;
      }
    },
  };
}

/** Moves what lies at `path`, also a directory or a pipe, to `<path>.damaged`. */
async function setAside(path: string): Promise<void> {
  const damaged = `${path}.damaged`;
  await rm(damaged, { recursive: true, force: true });
  try {
    await rename(path, damaged);
  } catch (failure) {
    if (!(failure instanceof Error && 'code' in failure && failure.code === 'ENOENT')) throw failure;
  }
}
