// The store's operations on responses that are kept under an idempotency key.
import { eq, lt } from 'drizzle-orm';
import type { Database } from './database/database.ts';

/** `id` is a digest of the caller's token and the key; the store cannot read `sealed_body`. */
export type StoredResponse = {
  id: string;
  request_digest: string;
  status: number;
  sealed_body: string;
  expires_at_ms: number;
};

export type IdempotencyOperations = {
  /** Null where there is none or it has expired. */
  get(id: string): Promise<StoredResponse | null>;
  /** Replaces the response of the same id. */
  put(response: StoredResponse): Promise<void>;
  /** Deletes what has expired. */
  sweep(): Promise<void>;
};

export function idempotencyOperations(database: Database): IdempotencyOperations {
  return {
    get: (id) =>
      database.read(async ({ db, tables: { idempotency }, nowMs }) => {
        const [row] = await db.select().from(idempotency).where(eq(idempotency.id, id));
        return row === undefined || row.expires_at_ms <= nowMs ? null : row;
      }),
    put: (response) =>
      database.write(async ({ db, tables: { idempotency } }) => {
        const { id: _, ...set } = response;
        await db.insert(idempotency).values(response).onConflictDoUpdate({ target: idempotency.id, set });
      }),
    sweep: () =>
      database.write(async ({ db, tables: { idempotency }, nowMs }) => {
        await db.delete(idempotency).where(lt(idempotency.expires_at_ms, nowMs));
      }),
  };
}
