// Closed operations on the tokens that the control plane accepts.
import { eq } from 'drizzle-orm';
import type { Database } from './database/database.ts';
import * as tables from './sqlite/tables.ts';

const { nodes, tokens } = tables;

/** Whom a token opens for. */
export type TokenHolder = { kind: 'admin'; name: string } | { kind: 'node'; nodeId: string };

export type TokenOperations = {
  /** Hashes of tokens only; null where no token has this one. */
  holderOf(hash: string): Promise<TokenHolder | null>;
  addAdmin(input: { hash: string; name: string; actor: string }): Promise<void>;
  adminCount(): Promise<number>;
};

export function tokenOperations(database: Database): TokenOperations {
  return {
    holderOf: (hash) =>
      database.read((db) => {
        const admin = db.select({ name: tokens.name }).from(tokens).where(eq(tokens.hash, hash)).get();
        if (admin !== undefined) return { kind: 'admin', name: admin.name };
        const node = db.select({ id: nodes.id }).from(nodes).where(eq(nodes.token_hash, hash)).get();
        return node === undefined ? null : { kind: 'node', nodeId: node.id };
      }),
    addAdmin: ({ hash, name, actor }) =>
      database.write(({ tx, nowMs, record }) => {
        tx.insert(tokens).values({ hash, name, role: 'admin', created_at_ms: nowMs }).run();
        record({ actor, action: 'token.create', target: name });
      }),
    adminCount: () => database.read((db) => db.select({ hash: tokens.hash }).from(tokens).all().length),
  };
}
