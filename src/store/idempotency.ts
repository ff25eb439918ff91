// Closed operations on the answers that are kept under an idempotency key.
import { eq, lt } from 'drizzle-orm';
import type { Database } from './database/database.ts';
import * as tables from './sqlite/tables.ts';

const { idempotency } = tables;

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
