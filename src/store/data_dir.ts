// A data directory: the claim that one process has on it, and the small private files in it.
import { Database as Sqlite } from 'bun:sqlite';
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { writeDurably } from '../base/durable.ts';
import { CONTROL_TUNING } from '../base/limits/control.ts';

/** A control plane and a node may share one directory: each role has a lock of its own. */
export type ClaimRole = 'control' | 'node';
/** Held until `close`; an unreferenced claim may be collected, which releases it. */
export type Claim = { close(): void };

/**
 * Makes the directory where it is missing; null while another process has it in this role. The claim is a
 * lock on `<role>.lock`, which the kernel releases when the process ends, however it ends.
 */
export function claimDirectory(dir: string, role: ClaimRole): Claim | null {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, `${role}.lock`);
  const sqlite = new Sqlite(path, { create: true, strict: true });
  try {
    // Another user who could open the file could lock it. The mode is set by path: closing any descriptor of
    // a file releases the locks that this process holds on it.
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

/** Keys and the first admin token; `name` is a plain file name. */
export type PrivateFiles = {
  /** Null where there is no such file. */
  read(name: string): Promise<string | null>;
  /** Replaces the file durably; only its owner may read it. Calls for one name must not overlap. */
  write(name: string, text: string): Promise<void>;
};

/** `dir` is made at the first write. */
export function createPrivateFiles(options: { dir: string }): PrivateFiles {
  const { dir } = options;
  return {
    async read(name) {
      const file = Bun.file(join(dir, name));
      return (await file.exists()) ? await file.text() : null;
    },
    write: (name, text) => writeDurably(join(dir, name), text, { mode: 0o600, tag: name }),
  };
}
