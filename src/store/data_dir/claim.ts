// One process at a time for a data directory: two would each answer from what the other one changes.
import { Database as Sqlite } from 'bun:sqlite';
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { CONTROL_TUNING } from '../../base/limits/control.ts';

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
