// One connection to a SQLite database: one transaction at a time, around a step that awaits its queries.
import type { Database as Sqlite, SQLQueryBindings, Statement } from 'bun:sqlite';
import { DrizzleQueryError } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/sqlite-proxy';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../base/clock.ts';
import { createSerialQueue } from '../../base/concurrency.ts';
import { CodedError } from '../../base/errors.ts';
import { CONTROL_BOUNDS, CONTROL_TUNING } from '../../base/limits/control.ts';
import type { Reading } from '../database/database.ts';

type Query = Reading['db'];
type Transaction<T> = {
  behavior: 'deferred' | 'immediate';
  step: (db: Query) => Promise<T>;
  onCommit?: () => void;
};

export type Connection = {
  /**
   * Runs the step between BEGIN and COMMIT, after all transactions asked for before, and calls `onCommit` in
   * the tick of the COMMIT. Rolls back and rejects when the step or the COMMIT fails. Where another process
   * holds the lock, it tries again, the step included, and rejects with `storage_busy` after `busyMs`.
   */
  transact<T>(transaction: Transaction<T>): Promise<T>;
  /** Closes after all transactions asked for before; later ones reject. */
  close(): Promise<void>;
};

/** Prepared statements of a connection: about a hundred texts, and more where lists vary in length. */
const STATEMENTS_MAX = 256;

/**
 * Takes over `sqlite`, which nothing else may use. SQLite answers without a turn of the event loop, so all
 * transactions end in the turn that asked for them, which bounds the queue, unless another process holds the
 * lock: then it is bounded here. It never waits for that lock inside SQLite, where it would hold up the thread.
 */
export function createConnection(sqlite: Sqlite, options: { clock: Clock; busyMs: number }): Connection {
  const { clock, busyMs } = options;
  sqlite.run('PRAGMA busy_timeout = 0');
  const queue = createSerialQueue();
  const db = createQuery(sqlite);
  let waiting = 0;
  let isLocked = false;

  const runUnlocked = async <T>(transaction: Transaction<T>, endMs: number): Promise<T> => {
    for (;;) {
      try {
        const result = await run(sqlite, db, transaction);
        isLocked = false;
        return result;
      } catch (failure) {
        isLocked = isBusy(failure);
        if (!isLocked) throw failure;
      }
      const leftMs = endMs - clock.monotonicMs();
      if (leftMs <= 0) throw new CodedError('storage_busy');
      await clock.sleep(Math.min(leftMs, CONTROL_TUNING.databaseRetryMs));
    }
  };

  return {
    async transact(transaction) {
      if (isLocked && waiting >= CONTROL_BOUNDS.lockedTransactionsMax) throw new CodedError('storage_busy');
      const endMs = clock.monotonicMs() + busyMs;
      waiting += 1;
      try {
        return await queue(() => runUnlocked(transaction, endMs));
      } finally {
        waiting -= 1;
      }
    },
    close: () => queue(async () => sqlite.close(true)),
  };
}

function isBusy(failure: unknown): boolean {
  return failure instanceof Error && 'code' in failure && String(failure.code).startsWith('SQLITE_BUSY');
}

async function run<T>(sqlite: Sqlite, db: Query, transaction: Transaction<T>): Promise<T> {
  const { behavior, step, onCommit } = transaction;
  sqlite.run(`BEGIN ${behavior}`);
  let result: T;
  try {
    result = await step(db);
    sqlite.run('COMMIT');
  } catch (failure) {
    // SQLite itself has rolled back after some errors, such as a full disk.
    if (sqlite.inTransaction) sqlite.run('ROLLBACK');
    throw withoutValues(failure);
  }
  onCommit?.();
  return result;
}

/** Drizzle quotes the values of a failed query, secrets included, in a message that ends in the log. */
function withoutValues(failure: unknown): unknown {
  return failure instanceof DrizzleQueryError ? failure.cause : failure;
}

/** Preparing costs more than running: statements are kept by their text. */
function createQuery(sqlite: Sqlite): Query {
  const statements = new LRUCache<string, Statement>({
    max: STATEMENTS_MAX,
    dispose: (statement) => statement.finalize(),
  });
  const prepared = (text: string): Statement => {
    const known = statements.get(text);
    if (known !== undefined) return known;
    const statement = sqlite.prepare(text);
    statements.set(text, statement);
    return statement;
  };
  const db = drizzle(async (text, values: SQLQueryBindings[], method) => {
    const statement = prepared(text);
    if (method !== 'run') return { rows: statement.values(...values) };
    statement.run(...values);
    return { rows: [] };
  });
  return db as unknown as Query;
}
