// Closed operations on what the control plane keeps for itself: tokens, stored answers, the audit trail.
import { desc, eq, lt } from 'drizzle-orm';
import type { AuditEntry } from '../model/api.ts';
import { isoTime, type Page, type PageRequest, pageOfRows } from './pages.ts';
import type { Database } from './database.ts';
import * as tables from './sqlite/tables.ts';

const { audit, idempotency, nodes, tokens } = tables;

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

/** `sealed_body` is opaque to the store; `id` is a digest of the caller's token and the key. */
export type StoredAnswer = {
  id: string;
  request_digest: string;
  status: number;
  sealed_body: string;
  expires_at_ms: number;
};

export type AnswerOperations = {
  /** Null where there is none or it has expired. */
  get(id: string): Promise<StoredAnswer | null>;
  put(answer: StoredAnswer): Promise<void>;
  sweep(): Promise<void>;
};

export function answerOperations(database: Database): AnswerOperations {
  return {
    get: (id) =>
      database.read((db, nowMs) => {
        const row = db.select().from(idempotency).where(eq(idempotency.id, id)).get();
        return row === undefined || row.expires_at_ms <= nowMs ? null : row;
      }),
    put: (answer) =>
      database.write(({ tx }) => {
        const { id: _, ...set } = answer;
        tx.insert(idempotency).values(answer).onConflictDoUpdate({ target: idempotency.id, set }).run();
      }),
    sweep: () =>
      database.write(({ tx, nowMs }) => {
        tx.delete(idempotency).where(lt(idempotency.expires_at_ms, nowMs)).run();
      }),
  };
}

export type AuditOperations = {
  /** Newest first; the cursor is an id. */
  list(page: PageRequest): Promise<Page<AuditEntry>>;
};

export function auditOperations(database: Database): AuditOperations {
  return {
    list: (page) =>
      database.read((db) => {
        const before = page.cursor === null ? undefined : lt(audit.id, Number(page.cursor));
        const rows = db
          .select()
          .from(audit)
          .where(before)
          .orderBy(desc(audit.id))
          .limit(page.limit + 1)
          .all();
        const toEntry = ({ at_ms, ...row }: (typeof rows)[number]): AuditEntry => ({
          ...row,
          at: isoTime(at_ms),
        });
        return pageOfRows(rows, page.limit, (row) => String(row.id), toEntry);
      }),
  };
}
