// The store's operations on answers that are kept under an idempotency key.
import { and, asc, desc, eq, gt, inArray, lte } from 'drizzle-orm';
import { CodedError } from '../base/errors.ts';
import { CONTROL_BOUNDS, CONTROL_TUNING } from '../base/limits/control.ts';
import type { Change, Database } from './database/database.ts';

/** `id` is a digest of the caller's token and the key; the store cannot read `sealed_body`. */
export type KeptAnswer = { id: string; request_digest: string; status: number; sealed_body: string };

export type IdempotencyOperations = {
  /** Null where there is none or it has expired. */
  get(id: string): Promise<KeptAnswer | null>;
  /** Refuses `overloaded` where the id has an answer: another process has committed one meanwhile. */
  put(answer: KeptAnswer): Promise<void>;
  /**
   * Deletes what has expired and the oldest above the bound, as many as `CONTROL_TUNING.sweepRows` at once.
   * Returns whether there is more to delete.
   */
  sweep(): Promise<boolean>;
};

export function idempotencyOperations(database: Database): IdempotencyOperations {
  return {
    get: (id) =>
      database.read(async ({ db, tables: { idempotency }, steadyMs }) => {
        const [row] = await db.select().from(idempotency).where(eq(idempotency.id, id));
        if (row === undefined || row.expires_at_ms <= steadyMs) return null;
        const { expires_at_ms: _, ...answer } = row;
        return answer;
      }),
    put: (answer) => database.write((change) => put(change, answer)),
    sweep: () => database.write(sweep),
  };
}

async function put({ db, tables, steadyMs }: Change, answer: KeptAnswer): Promise<void> {
  const { idempotency } = tables;
  const isSame = eq(idempotency.id, answer.id);
  await db.delete(idempotency).where(and(isSame, lte(idempotency.expires_at_ms, steadyMs)));
  const [held] = await db.select({ id: idempotency.id }).from(idempotency).where(isSame);
  if (held !== undefined) throw new CodedError('overloaded');
  const expires_at_ms = steadyMs + CONTROL_TUNING.idempotencyTtlMs;
  await db.insert(idempotency).values({ ...answer, expires_at_ms });
}

/** Rows of a time to come were kept by a clock that ran ahead: they get the time that a new row gets. */
async function sweep({ db, tables, steadyMs }: Change): Promise<boolean> {
  const { idempotency } = tables;
  const expires_at_ms = steadyMs + CONTROL_TUNING.idempotencyTtlMs;
  await db.update(idempotency).set({ expires_at_ms }).where(gt(idempotency.expires_at_ms, expires_at_ms));
  const [first] = await db
    .select({ expires_at_ms: idempotency.expires_at_ms })
    .from(idempotency)
    .orderBy(desc(idempotency.expires_at_ms))
    .limit(1)
    .offset(CONTROL_BOUNDS.idempotencyRowsMax);
  const untilMs = Math.max(steadyMs, first?.expires_at_ms ?? 0);
  const old = await db
    .select({ id: idempotency.id })
    .from(idempotency)
    .where(lte(idempotency.expires_at_ms, untilMs))
    .orderBy(asc(idempotency.expires_at_ms))
    .limit(CONTROL_TUNING.sweepRows);
  const ids = old.map((row) => row.id);
  if (ids.length > 0) await db.delete(idempotency).where(inArray(idempotency.id, ids));
  return ids.length === CONTROL_TUNING.sweepRows;
}
