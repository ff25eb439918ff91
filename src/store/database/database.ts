// The database as the operations see it, and what a dialect brings to it.
import { desc, eq, sql } from 'drizzle-orm';
import { type Clock, createSteadyTime } from '../../base/clock.ts';
import { canonicalJson } from '../../model/protocol.ts';
import type { Tables } from '../schema.ts';
import type { Query } from './query.ts';

/**
 * One consistent state of the database, for as long as a step runs. `nowMs` is what people are shown; what
 * is kept for a while is judged by `steadyMs`, what must not be valid for too long by `latestMs`.
 */
export type Reading = { db: Query; tables: Tables; nowMs: number; steadyMs: number; latestMs: number };

/** Who did what to what; `detail` never holds a secret. */
export type AuditRecord = { actor: string; action: string; target: string; detail?: Record<string, unknown> };

/** An open transaction; `record` raises the revision, appends the audit row and returns the new revision. */
export type Change = Reading & { record(entry: AuditRecord): Promise<number> };

/** A step queries what it is handed and awaits nothing but its queries: others wait for it to end. */
export type Database = {
  /** One consistent state, however many queries the step takes. */
  read<T>(step: (reading: Reading) => Promise<T>): Promise<T>;
  /** All that the step writes, or nothing: what it throws rolls back and reaches the caller. */
  write<T>(step: (change: Change) => Promise<T>): Promise<T>;
  /** Resolves when the work asked for so far is done; later work is refused. */
  close(): Promise<void>;
};

/**
 * What a dialect brings: its tables, and how it runs a transaction. Writes are serializable: what a step has
 * found holds until its commit, so no operation has to know how a dialect reports a violated unique index. A
 * driver may repeat a step to reach this.
 */
export type Driver = {
  tables: Tables;
  /** Sees only what was committed before the step began. */
  read<T>(step: (db: Query) => Promise<T>): Promise<T>;
  /** Calls `onCommit` in the tick of the commit. */
  write<T>(step: (db: Query) => Promise<T>, onCommit: () => void): Promise<T>;
  close(): Promise<void>;
};

/** `onCommit` is called in the tick of every commit that raised the revision. */
export function createDatabase(options: {
  driver: Driver;
  clock: Clock;
  onCommit: (revision: number) => void;
}): Database {
  const { driver, clock, onCommit } = options;
  const { tables } = driver;
  const time = createSteadyTime(clock);
  const readingOf = (db: Query): Reading => {
    return { db, tables, nowMs: clock.nowMs(), steadyMs: time.steadyMs(), latestMs: time.latestMs() };
  };
  return {
    read: (step) => driver.read((db) => step(readingOf(db))),
    write(step) {
      let revision: number | null = null;
      return driver.write(
        (db) => {
          const reading = readingOf(db);
          revision = null;
          const record = async (entry: AuditRecord): Promise<number> =>
            (revision = await appendAudit(reading, entry));
          return step({ ...reading, record });
        },
        () => {
          if (revision !== null) onCommit(revision);
        },
      );
    },
    close: () => driver.close(),
  };
}

/** An open transaction as a database: what is asked of it becomes a part of that transaction. */
export function insideOf(change: Change): Database {
  return { read: (step) => step(change), write: (step) => step(change), close: () => Promise.resolve() };
}

/** The counter of mutations; 0 before the first. */
export async function revisionOf({ db, tables }: Reading): Promise<number> {
  const { counters } = tables;
  const [row] = await db
    .select({ value: counters.value })
    .from(counters)
    .where(eq(counters.name, 'revision'));
  return row?.value ?? 0;
}

/** The hash of an audit row covers its content and the hash before it, so that an edited history shows. */
async function appendAudit(reading: Reading, entry: AuditRecord): Promise<number> {
  const { db, tables, nowMs } = reading;
  const { audit } = tables;
  const revision = await raiseRevision(reading);
  const [last] = await db.select({ hash: audit.hash }).from(audit).orderBy(desc(audit.id)).limit(1);
  const { actor, action, target, detail = {} } = entry;
  const row = { at_ms: nowMs, revision, actor, action, target, detail };
  const hash = sha256(`${last?.hash ?? ''}${canonicalJson(row)}`);
  await db.insert(audit).values({ ...row, hash });
  return revision;
}

async function raiseRevision({ db, tables }: Reading): Promise<number> {
  const { counters } = tables;
  const [row] = await db
    .insert(counters)
    .values({ name: 'revision', value: 1 })
    .onConflictDoUpdate({ target: counters.name, set: { value: sql`${counters.value} + 1` } })
    .returning();
  if (row === undefined) throw new Error('the database returned no revision');
  return row.value;
}

/** `name` orders migrations; `sql` holds statements divided by `--> statement-breakpoint`. */
export type Migration = { name: string; sql: string };

/** What the database remembers of a migration; `digest` is the SHA-256 of its text. */
export type AppliedMigration = { name: string; digest: string };

/**
 * The migrations that the database lacks, in order of their names. Throws a sentence for the operator when
 * the database has one that this program lacks, or has one with another text.
 */
export function pendingMigrations(
  migrations: readonly Migration[],
  applied: readonly AppliedMigration[],
): (Migration & AppliedMigration)[] {
  const known = migrations
    .map(({ name, sql: text }) => ({ name, sql: text, digest: sha256(text) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const digests = new Map(known.map(({ name, digest }) => [name, digest]));
  for (const { name, digest } of applied) {
    const expected = digests.get(name);
    if (expected === undefined) {
      throw new Error(
        `The database is newer than this program: it has the migration "${name}". Use a newer program.`,
      );
    }
    if (expected !== digest) {
      throw new Error(
        `The migration "${name}" was applied to this database with other text than this program has.`,
      );
    }
  }
  const done = new Set(applied.map(({ name }) => name));
  return known.filter(({ name }) => !done.has(name));
}

function sha256(text: string): string {
  return new Bun.CryptoHasher('sha256').update(text).digest('hex');
}
