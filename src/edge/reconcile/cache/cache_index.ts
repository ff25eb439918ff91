// The index of the artifact cache in SQLite: sizes, last use and pins; it can be made again from the files.
import { Database } from 'bun:sqlite';
import { existsSync, renameSync, rmSync } from 'node:fs';
import type { Log } from '../../../base/log.ts';

/** `unverified`: found on disk without an entry. `verified`: its digest was checked at a write or a read. */
export type CacheEntry = {
  function_id: string;
  version: string;
  sha256: string;
  size: number;
  last_used: number;
  state: 'verified' | 'unverified';
  pinned: 0 | 1;
};

export type CacheIndex = {
  put(entry: CacheEntry): void;
  list(): CacheEntry[];
  touch(functionId: string, version: string, nowMs: number): void;
  pin(functionId: string, version: string | null): void;
  remove(functionId: string, version: string): void;
  /** Entries that are not pinned, least recently used first. */
  evictable(): CacheEntry[];
  totals(): { entries: number; bytes: number; pinnedBytes: number };
  close(): void;
};

const SCHEMA = `create table if not exists artifacts (
  function_id text not null, version text not null, sha256 text not null, size integer not null,
  last_used integer not null, state text not null, pinned integer not null,
  primary key (function_id, version)) strict, without rowid`;

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

/** Two processes with one cache would evict what the other one needs. */
export class CacheInUse extends Error {}

const isBusy = (failure: unknown): boolean =>
  failure instanceof Error && 'code' in failure && String(failure.code).startsWith('SQLITE_BUSY');

/** Throws only where another process has the file: a broken one is renamed and a new one made. */
function openOrSetAside(path: string, log: Log): Database {
  try {
    return openDatabase(path);
  } catch (failure) {
    if (isBusy(failure)) throw new CacheInUse('another process uses this cache directory');
    log.warn('the cache index is broken; it is made again from the files', { error: String(failure) });
    for (const suffix of ['-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true });
    rmSync(`${path}.broken`, { force: true, recursive: true });
    if (existsSync(path)) renameSync(path, `${path}.broken`);
    return openDatabase(path);
  }
}

export function openCacheIndex(options: { path: string; log: Log }): CacheIndex {
  const database = openOrSetAside(options.path, options.log);
  const put = database.query<null, [string, string, string, number, number, string, number]>(
    'insert or replace into artifacts values (?, ?, ?, ?, ?, ?, ?)',
  );
  const list = database.query<CacheEntry, []>('select * from artifacts');
  const touch = database.query<null, [number, string, string]>(
    "update artifacts set last_used = ?, state = 'verified' where function_id = ? and version = ?",
  );
  const pin = database.query<null, [string | null, string]>(
    'update artifacts set pinned = (version is ?) where function_id = ?',
  );
  const remove = database.query<null, [string, string]>(
    'delete from artifacts where function_id = ? and version = ?',
  );
  const evictable = database.query<CacheEntry, []>(
    'select * from artifacts where pinned = 0 order by last_used, function_id, version',
  );
  const totals = database.query<{ entries: number; bytes: number; pinnedBytes: number }, []>(
    `select count(*) as entries, coalesce(sum(size), 0) as bytes,
      coalesce(sum(size * pinned), 0) as pinnedBytes from artifacts`,
  );
  return {
    put: (entry) =>
      void put.run(
        entry.function_id,
        entry.version,
        entry.sha256,
        entry.size,
        entry.last_used,
        entry.state,
        entry.pinned,
      ),
    list: () => list.all(),
    touch: (functionId, version, nowMs) => void touch.run(nowMs, functionId, version),
    pin: (functionId, version) => void pin.run(version, functionId),
    remove: (functionId, version) => void remove.run(functionId, version),
    evictable: () => evictable.all(),
    totals: () => totals.get() ?? { entries: 0, bytes: 0, pinnedBytes: 0 },
    close: () => database.close(),
  };
}
