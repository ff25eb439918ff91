// The store's operations on the artifacts that versions name.
import { and, eq, gte, lt } from 'drizzle-orm';
import type { Database } from '../database/database.ts';

export type ArtifactOperations = {
  /** The artifacts whose digests start with these two digits, in order. */
  named(prefix: string): Promise<{ sha256: string; size_bytes: number }[]>;
  isKnown(sha256: string): Promise<boolean>;
};

/** Sorts after every digit of a digest. */
const AFTER_DIGITS = 'g';

export function artifactOperations(database: Database): ArtifactOperations {
  return {
    named: (prefix) =>
      database.read(async ({ db, tables: { artifacts } }) => {
        const isNamed = and(gte(artifacts.sha256, prefix), lt(artifacts.sha256, `${prefix}${AFTER_DIGITS}`));
        const rows = await db.select().from(artifacts).where(isNamed).orderBy(artifacts.sha256);
        return rows.map(({ sha256, size_bytes }) => ({ sha256, size_bytes }));
      }),
    isKnown: (sha256) =>
      database.read(async ({ db, tables: { artifacts } }) => {
        const [row] = await db.select().from(artifacts).where(eq(artifacts.sha256, sha256));
        return row !== undefined;
      }),
  };
}
