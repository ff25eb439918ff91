// The control plane's database on SQLite: opening it, reading it, and changing it in closed transactions.
import { Database as Sqlite } from 'bun:sqlite';
import { eq, sql } from 'drizzle-orm';
import { type BunSQLiteDatabase, drizzle } from 'drizzle-orm/bun-sqlite';
import type { Clock } from '../../base/clock.ts';
import { CONTROL_TUNING } from '../../base/limits/control.ts';
import { canonicalJson } from '../../model/protocol.ts';
import { type Migration, migrate } from '../sqlite/migrate.ts';
import * as tables from '../sqlite/tables.ts';

/** What a closed operation queries: the database itself or an open transaction. */
export type Query = Pick<BunSQLiteDatabase, 'select' | 'insert' | 'update' | 'delete'>;

/** Who did what to what; `detail` never holds a secret. */
export type AuditRecord = { actor: string; action: string; target: string; detail?: Record<string, unknown> };

/**
 * An open write transaction. `record` raises the revision, appends the audit row and returns the new
 * revision.
 */
export type Change = { tx: Query; nowMs: number; record(entry: AuditRecord): number };

/**
 * Operations are synchronous inside, so that nothing can come between their statements, and promises outside.
 * A thrown `CodedError` rolls a write back and reaches the caller.
 */
export type Database = {
  /** One consistent reading, however many queries it takes. */
  read<T>(query: (db: Query, nowMs: number) => T): Promise<T>;
  write<T>(step: (change: Change) => T): Promise<T>;
  close(): void;
};

/** `onCommit` is called in the tick of every commit that raised the revision. `path` may be `:memory:`. */
export function openDatabase(options: {
  path: string;
  migrations: readonly Migration[];
  clock: Clock;
  onCommit: (revision: number) => void;
}): Database {
  const { clock, onCommit } = options;
  const sqlite = new Sqlite(options.path, { create: true, strict: true });
  try {
    sqlite.run(`PRAGMA busy_timeout = ${CONTROL_TUNING.databaseBusyMs}`);
    sqlite.run('PRAGMA journal_mode = WAL');
    sqlite.run('PRAGMA synchronous = FULL');
    sqlite.run('PRAGMA foreign_keys = ON');
    migrate(sqlite, options.migrations, clock.nowMs());
  } catch (failure) {
    sqlite.close();
    throw failure;
  }
  const db = drizzle({ client: sqlite });
  return {
    read: async (query) => db.transaction((tx) => query(tx, clock.nowMs()), { behavior: 'deferred' }),
    async write(step) {
      let recorded: number | null = null;
      const result = db.transaction(
        (tx) => {
          const nowMs = clock.nowMs();
          const record = (entry: AuditRecord): number => (recorded = appendAudit(tx, entry, nowMs));
          return step({ tx, nowMs, record });
        },
        { behavior: 'immediate' },
      );
      if (recorded !== null) onCommit(recorded);
      return result;
    },
    close: () => sqlite.close(),
  };
}

const { audit, counters } = tables;

/** The one counter that only rises; 0 before the first mutation. */
export function revisionOf(db: Query): number {
  return (
    db.select({ value: counters.value }).from(counters).where(eq(counters.name, 'revision')).get()?.value ?? 0
  );
}

/** The hash of an audit row covers its content and the hash before it, so that an edited history shows. */
function appendAudit(tx: Query, entry: AuditRecord, nowMs: number): number {
  const revision = tx
    .insert(counters)
    .values({ name: 'revision', value: 1 })
    .onConflictDoUpdate({ target: counters.name, set: { value: sql`${counters.value} + 1` } })
    .returning()
    .get().value;
  const last = tx
    .select({ hash: audit.hash })
    .from(audit)
    .orderBy(sql`${audit.id} desc`)
    .limit(1)
    .get();
  const { actor, action, target, detail = {} } = entry;
  const row = { at_ms: nowMs, revision, actor, action, target, detail };
  const hash = new Bun.CryptoHasher('sha256')
    .update(`${last?.hash ?? ''}${canonicalJson(row)}`)
    .digest('hex');
  tx.insert(audit)
    .values({ ...row, hash })
    .run();
  return revision;
}
