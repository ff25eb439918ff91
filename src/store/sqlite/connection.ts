// One connection to a SQLite database: one transaction at a time, around a step that awaits its queries.
import type { Database as Sqlite, SQLQueryBindings, Statement } from 'bun:sqlite';
import { DrizzleQueryError } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/sqlite-proxy';
import { LRUCache } from 'lru-cache';
import { createSerialQueue } from '../../base/concurrency.ts';
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
   * the tick of the COMMIT. Rolls back and rejects when the step or the COMMIT fails.
   */
  transact<T>(transaction: Transaction<T>): Promise<T>;
  /** Closes after all transactions asked for before; later ones reject. */
  close(): Promise<void>;
};

/** Prepared statements of a connection: about a hundred texts, and more where lists vary in length. */
const STATEMENTS_MAX = 256;

/**
 * Takes over `sqlite`, which nothing else may use. SQLite answers without a turn of the event loop, so all
 * transactions end in the turn that asked for them: that bounds the queue.
 */
export function createConnection(sqlite: Sqlite): Connection {
  const queue = createSerialQueue();
  const db = createQuery(sqlite);
  return {
    transact: (transaction) => queue(() => run(sqlite, db, transaction)),
    close: () => queue(async () => sqlite.close(true)),
  };
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
