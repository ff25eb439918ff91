// The store's operations on tokens; it keeps only their hashes.
import { count, eq } from 'drizzle-orm';
import type { Database, Reading } from './database/database.ts';

/** Who presents a token. */
export type TokenHolder = { kind: 'admin'; name: string } | { kind: 'node'; nodeId: string };

export type TokenOperations = {
  /** Null where no token has this hash. */
  holderOf(hash: string): Promise<TokenHolder | null>;
  addAdmin(input: { hash: string; name: string; actor: string }): Promise<void>;
  adminCount(): Promise<number>;
};

export function tokenOperations(database: Database): TokenOperations {
  return {
    holderOf: (hash) => database.read((reading) => holderOf(reading, hash)),
    addAdmin: ({ hash, name, actor }) =>
      database.write(async ({ db, tables, nowMs, record }) => {
        await db.insert(tables.tokens).values({ hash, name, role: 'admin', created_at_ms: nowMs });
        await record({ actor, action: 'token.create', target: name });
      }),
    adminCount: () =>
      database.read(async ({ db, tables }) => {
        const [row] = await db.select({ admins: count() }).from(tables.tokens);
        return row?.admins ?? 0;
      }),
  };
}

async function holderOf({ db, tables }: Reading, hash: string): Promise<TokenHolder | null> {
  const { nodes, tokens } = tables;
  const [admin] = await db.select({ name: tokens.name }).from(tokens).where(eq(tokens.hash, hash));
  if (admin !== undefined) return { kind: 'admin', name: admin.name };
  const [node] = await db.select({ id: nodes.id }).from(nodes).where(eq(nodes.token_hash, hash));
  return node === undefined ? null : { kind: 'node', nodeId: node.id };
}
