// The SQLite file behind the index of the artifact cache, which one process at a time may have.
import { Database } from 'bun:sqlite';
import { existsSync, renameSync, rmSync } from 'node:fs';
import type { Log } from '../../../base/log.ts';

/**
 * `last_used` is rounded to whole milliseconds. `unverified`: found on disk without an entry. `verified`: its
 * digest was checked at a write or a read.
 */
export type CacheEntry = {
  function_id: string;
  version: string;
  sha256: string;
  size: number;
  last_used: number;
  state: 'verified' | 'unverified';
  pinned: 0 | 1;
};

/** Every method throws where the disk or the file fails. */
export type CacheStore = {
  list(): CacheEntry[];
  put(entry: CacheEntry): void;
  remove(functionId: string, version: string): void;
  /** Makes the file agree with `entries`, wholly or not at all. */
  replaceAll(entries: Iterable<CacheEntry>): void;
  close(): void;
};

/** Two processes with one cache would evict what the other one needs. */
export class CacheInUse extends Error {}

const SCHEMA = `create table if not exists artifacts (
  function_id text not null, version text not null, sha256 text not null, size integer not null,
  last_used integer not null, state text not null, pinned integer not null,
  primary key (function_id, version)) strict, without rowid`;

/** Sets a broken file aside and makes a new one. Throws `CacheInUse` where another process has it. */
export function openCacheStore(options: { path: string; log: Log }): CacheStore {
  const database = openOrSetAside(options.path, options.log);
  const list = database.query<CacheEntry, []>('select * from artifacts');
  const put = database.query<null, [string, string, string, number, number, string, number]>(
    'insert or replace into artifacts values (?, ?, ?, ?, ?, ?, ?)',
  );
  const remove = database.query<null, [string, string]>(
    'delete from artifacts where function_id = ? and version = ?',
  );
  const write = (entry: CacheEntry): void => {
    const { function_id, version, sha256, size, last_used, state, pinned } = entry;
    put.run(function_id, version, sha256, size, Math.round(last_used), state, pinned);
  };
  const replaceAll = database.transaction((entries: Iterable<CacheEntry>) => {
    database.run('delete from artifacts');
    for (const entry of entries) write(entry);
  });
  return {
    list: () => list.all(),
    put: write,
    remove: (functionId, version) => void remove.run(functionId, version),
    replaceAll,
    close: () => database.close(),
  };
}

function openDatabase(path: string): Database {
  const database = new Database(path, { create: true, strict: true });
  try {
    database.run('pragma busy_timeout = 0');
    database.run('pragma locking_mode = exclusive');
    database.run('pragma journal_mode = wal');
    database.run('pragma synchronous = normal');
    database.run('begin exclusive');
    database.run('commit');
    const check = database.query<{ quick_check: string }, []>('pragma quick_check(1)').get();
    if (check?.quick_check !== 'ok') throw new Error('quick_check failed');
    database.run(SCHEMA);
    database
      .query('select function_id, version, sha256, size, last_used, state, pinned from artifacts')
      .get();
    return database;
  } catch (failure) {
    database.close();
    throw failure;
  }
}

const isBusy = (failure: unknown): boolean =>
  failure instanceof Error && 'code' in failure && String(failure.code).startsWith('SQLITE_BUSY');

function openOrSetAside(path: string, log: Log): Database {
  try {
    return openDatabase(path);
  } catch (failure) {
    if (isBusy(failure)) throw new CacheInUse('another process uses this cache directory');
    log.warn('the cache index is broken; it is made again from the files', { error: String(failure) });
    for (const suffix of ['-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true, recursive: true });
    rmSync(`${path}.broken`, { force: true, recursive: true });
    if (existsSync(path)) renameSync(path, `${path}.broken`);
    return openDatabase(path);
  }
}
