// Brings a SQLite database to the schema of this program, one transaction per migration.
import type { Database as Sqlite } from 'bun:sqlite';
import { type AppliedMigration, type Migration, pendingMigrations } from '../database/database.ts';

const BREAKPOINT = '--> statement-breakpoint';

/** Returns the names of the migrations that it applied. Throws where `pendingMigrations` does. */
export function migrate(
  sqlite: Sqlite,
  migrations: readonly Migration[],
  nowMs: number,
): { applied: string[] } {
  sqlite.run(
    `CREATE TABLE IF NOT EXISTS migrations
      (name TEXT PRIMARY KEY, digest TEXT NOT NULL, applied_at_ms INTEGER NOT NULL)`,
  );
  const present = sqlite
    .query<AppliedMigration, []>('SELECT name, digest FROM migrations ORDER BY name')
    .all();
  const pending = pendingMigrations(migrations, present);
  for (const migration of pending) apply(sqlite, migration, nowMs);
  return { applied: pending.map(({ name }) => name) };
}

function apply(sqlite: Sqlite, migration: Migration & AppliedMigration, nowMs: number): void {
  const { name, sql, digest } = migration;
  sqlite
    .transaction(() => {
      for (const statement of sql.split(BREAKPOINT)) {
        if (statement.trim() !== '') sqlite.run(statement);
      }
      const insert = 'INSERT INTO migrations (name, digest, applied_at_ms) VALUES (?, ?, ?)';
      sqlite.run(insert, [name, digest, nowMs]);
    })
    .immediate();
}
