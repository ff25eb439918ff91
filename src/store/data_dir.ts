// A data directory: one process at a time has it, and its small private files are whole or absent.
import { Database as Sqlite } from 'bun:sqlite';
import { chmodSync, mkdirSync } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CONTROL_TUNING } from '../base/limits/control.ts';

/** What a directory is to a process; a control plane and a node may share one. */
export type ClaimRole = 'control' | 'node';
/** Whoever drops it unclosed has given it up. */
export type Claim = { close(): void };

/**
 * Makes the directory if need be; null when another process has it. The claim is a lock of a file
 * in it, which the system gives up with the process, however that ends.
 */
export function claimDirectory(dir: string, role: ClaimRole): Claim | null {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, `${role}.lock`);
  const sqlite = new Sqlite(path, { create: true, strict: true });
  try {
    // Whoever can open it can lock it. By path, for the system drops a lock with any descriptor of its file.
    chmodSync(path, 0o600);
    sqlite.run(`PRAGMA busy_timeout = ${CONTROL_TUNING.claimMs}`);
    sqlite.run('BEGIN EXCLUSIVE');
    return { close: () => sqlite.close() };
  } catch (failure) {
    sqlite.close();
    if (failure instanceof Error && 'code' in failure && failure.code === 'SQLITE_BUSY') return null;
    throw failure;
  }
}

/** `name` is a plain file name. A file is there whole or not at all. */
export type PrivateFiles = {
  read(name: string): Promise<string | null>;
  write(name: string, text: string): Promise<void>;
};

export function createPrivateFiles(options: { dir: string }): PrivateFiles {
  const { dir } = options;
  return {
    async read(name) {
      const file = Bun.file(join(dir, name));
      return (await file.exists()) ? await file.text() : null;
    },
    async write(name, text) {
      await mkdir(dir, { recursive: true, mode: 0o700 });
      const temporary = join(dir, `${name}.tmp`);
      await rm(temporary, { force: true });
      const file = await open(temporary, 'wx', 0o600);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, join(dir, name));
    },
  };
}
