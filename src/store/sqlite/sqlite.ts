// Opens a SQLite database for the store: one connection writes, another reads beside it.
import { Database as Sqlite } from 'bun:sqlite';
import type { Clock } from '../../base/clock.ts';
import type { Driver, Migration } from '../database/database.ts';
import { createConnection } from './connection.ts';
import { migrate } from './migrate.ts';
import * as tables from './tables.ts';

/**
 * `path` is a file or `:memory:`, where one connection both reads and writes. A transaction waits up to
 * `busyMs` for a lock of another process. Throws where the file cannot be used; only this call holds up the
 * thread while it waits for such a lock.
 */
export function openSqlite(options: {
  path: string;
  migrations: readonly Migration[];
  busyMs: number;
  clock: Clock;
}): Driver {
  const { path, migrations, busyMs, clock } = options;
  using opened = new DisposableStack();
  const open = (): Sqlite => {
    const sqlite = new Sqlite(path, { create: true, strict: true });
    opened.defer(() => sqlite.close(true));
    sqlite.run(`PRAGMA busy_timeout = ${busyMs}`);
    return sqlite;
  };
  const writing = open();
  // With a write-ahead log a reader sees the last commit while a writer works.
  writing.run('PRAGMA journal_mode = WAL');
  writing.run('PRAGMA synchronous = FULL');
  writing.run('PRAGMA foreign_keys = ON');
  migrate(writing, migrations, clock.nowMs());
  const writer = createConnection(writing, { clock, busyMs });
  let reader = writer;
  if (path !== ':memory:') {
    const reading = open();
    reading.run('PRAGMA query_only = ON');
    reader = createConnection(reading, { clock, busyMs });
  }
  opened.move();
  return {
    tables,
    read: (step) => reader.transact({ behavior: 'deferred', step }),
    write: (step, onCommit) => writer.transact({ behavior: 'immediate', step, onCommit }),
    async close() {
      await Promise.all([reader.close(), writer.close()]);
    },
  };
}
