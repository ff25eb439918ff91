// Marks of what desired states depend on: they say what has changed since a revision.
import { eq, inArray } from 'drizzle-orm';
import type { Change, Reading } from './database/database.ts';

/** Counters that hold the revision at which a node, or the deletion of a function, was written last. */
const MARKS = { nodes: 'nodes_revision', deletions: 'deletions_revision' } as const;
type Mark = keyof typeof MARKS;

/** Lets the next reading of the facts find this function. */
export async function markFunction(
  { db, tables: { functions } }: Change,
  id: string,
  revision: number,
): Promise<void> {
  await db.update(functions).set({ desired_revision: revision }).where(eq(functions.id, id));
}

/** `nodes`: one joined, left, or got other labels. `deletions`: a function was deleted. */
export async function mark(
  { db, tables: { counters } }: Change,
  kind: Mark,
  revision: number,
): Promise<void> {
  await db
    .insert(counters)
    .values({ name: MARKS[kind], value: revision })
    .onConflictDoUpdate({ target: counters.name, set: { value: revision } });
}

/** The revision of each mark; 0 for what was never written. */
export async function marksOf({ db, tables: { counters } }: Reading): Promise<Record<Mark, number>> {
  const rows = await db
    .select()
    .from(counters)
    .where(inArray(counters.name, Object.values(MARKS)));
  const valueOf = (kind: Mark): number => rows.find((row) => row.name === MARKS[kind])?.value ?? 0;
  return { nodes: valueOf('nodes'), deletions: valueOf('deletions') };
}
