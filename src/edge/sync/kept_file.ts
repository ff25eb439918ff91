// A small file that survives damage: it has a previous copy, and a disk that refuses is tried again.
import { rename, rm } from 'node:fs/promises';
import { basename } from 'node:path';
import { readFileBounded, writeDurably } from '../../base/durable.ts';
import type { RandomBytes } from '../../base/id.ts';
import type { Log } from '../../base/log.ts';

export type KeptFileOptions<T> = {
  path: string;
  bytesMax: number;
  /** Null for bytes that are damaged. */
  parse: (bytes: Uint8Array) => T | null;
  random: RandomBytes;
  log: Log;
};

/** Both copies are private (0600). Calls must not overlap. */
export class KeptFile<T> {
  readonly #options: KeptFileOptions<T>;
  readonly #previous: string;
  readonly #file: string;
  /** The copies that this process has read or written, and found good. */
  readonly #good = new Set<string>();
  #isFailing = false;

  constructor(options: KeptFileOptions<T>) {
    this.#options = options;
    this.#previous = `${options.path}.previous`;
    this.#file = basename(options.path);
  }

  /** The newest good copy; null where there is none. Never rejects: what is damaged is logged and replaced. */
  async load(): Promise<T | null> {
    const { path, log } = this.#options;
    const current = await this.#read(path);
    if (current !== null) return current.value;
    const older = await this.#read(this.#previous);
    if (older === null) return null;
    log.warn('a previous copy of a file is used', { file: this.#file });
    try {
      await setAside(path);
      await this.#write(path, older.bytes);
    } catch (failure) {
      log.warn('a damaged file cannot be mended', { file: this.#file, error: String(failure) });
    }
    return older.value;
  }

  /**
   * Keeps `bytes` and, as the previous copy, what was kept before. False where the disk refuses, which is
   * logged once: the caller tries again later, and the last good copy stays.
   */
  async store(bytes: Uint8Array | string): Promise<boolean> {
    const { log } = this.#options;
    try {
      await this.#replace(bytes);
      if (this.#isFailing) log.info('a file can be written again', { file: this.#file });
      this.#isFailing = false;
      return true;
    } catch (failure) {
      if (!this.#isFailing)
        log.error('a file cannot be written', { file: this.#file, error: String(failure) });
      this.#isFailing = true;
      return false;
    }
  }

  async #replace(bytes: Uint8Array | string): Promise<void> {
    const { path } = this.#options;
    if (!(await this.#isGood(this.#previous))) await setAside(this.#previous);
    if (await this.#isGood(path)) {
      await rename(path, this.#previous);
      this.#good.add(this.#previous);
    } else await setAside(path);
    this.#good.delete(path);
    await this.#write(path, bytes);
    if (!this.#good.has(this.#previous)) await this.#write(this.#previous, bytes);
  }

  async #isGood(copy: string): Promise<boolean> {
    return this.#good.has(copy) || (await this.#read(copy)) !== null;
  }

  async #read(copy: string): Promise<{ bytes: Uint8Array; value: T } | null> {
    const { bytesMax, parse, log } = this.#options;
    try {
      const bytes = await readFileBounded(copy, bytesMax);
      if (bytes === null) return null;
      const value = parse(bytes);
      if (value === null) {
        log.error('a file is damaged', { file: basename(copy) });
        return null;
      }
      this.#good.add(copy);
      return { bytes, value };
    } catch (failure) {
      log.error('a file cannot be read', { file: basename(copy), error: String(failure) });
      return null;
    }
  }

  async #write(copy: string, bytes: Uint8Array | string): Promise<void> {
    const tag = Buffer.from(this.#options.random(8)).toString('hex');
    await writeDurably(copy, bytes, { mode: 0o600, tag });
    this.#good.add(copy);
  }
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
