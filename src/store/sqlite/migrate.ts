// Brings a SQLite database to the schema of this program, one transaction per migration.
import type { Database as Sqlite } from 'bun:sqlite';

/** `name` orders migrations; `sql` holds statements divided by `--> statement-breakpoint`. */
export type Migration = { name: string; sql: string };

const BREAKPOINT = '--> statement-breakpoint';

type Applied = { name: string; digest: string };

/**
 * Applies what is missing, in order of the names. Throws with a sentence for the operator when the database
 * knows a migration that this program does not, or when an applied one had other text.
 */
export function migrate(
  sqlite: Sqlite,
  migrations: readonly Migration[],
  nowMs: number,
): { applied: string[] } {
  sqlite.run(
    `CREATE TABLE IF NOT EXISTS migrations
      (name TEXT PRIMARY KEY, digest TEXT NOT NULL, applied_at_ms INTEGER NOT NULL)`,
  );
  const ordered = [...migrations].sort((a, b) => (a.name < b.name ? -1 : 1));
  const known = new Map(ordered.map((migration) => [migration.name, digestOf(migration)]));
  const present = sqlite.query<Applied, []>('SELECT name, digest FROM migrations ORDER BY name').all();
  for (const { name, digest } of present) {
    const expected = known.get(name);
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
  const done = new Set(present.map((migration) => migration.name));
  const missing = ordered.filter((migration) => !done.has(migration.name));
  for (const migration of missing) apply(sqlite, migration, nowMs);
  return { applied: missing.map((migration) => migration.name) };
}

function apply(sqlite: Sqlite, migration: Migration, nowMs: number): void {
  sqlite
    .transaction(() => {
      for (const statement of migration.sql.split(BREAKPOINT)) {
        if (statement.trim() !== '') sqlite.run(statement);
      }
      sqlite.run('INSERT INTO migrations (name, digest, applied_at_ms) VALUES (?, ?, ?)', [
        migration.name,
        digestOf(migration),
        nowMs,
      ]);
    })
    .immediate();
}

function digestOf(migration: Migration): string {
  return new Bun.CryptoHasher('sha256').update(migration.sql).digest('hex');
}
