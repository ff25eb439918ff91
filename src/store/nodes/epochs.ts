// Epochs of the database, and the leave that an operator gives a node to fall back to the current one.
import { desc, eq, inArray, isNull, not } from 'drizzle-orm';
import { CONTROL_BOUNDS } from '../../base/limits/control.ts';
import type { Position } from '../../model/epoch.ts';
import { type Epochs, isFresh, type NewEpoch } from '../../model/rules/epoch.ts';
import { type Change, type Reading, revisionOf } from '../database/database.ts';
import { findNode } from './rows.ts';

/** `known`: an epoch of nodes that this database never was in. */
export type BeginEpoch = { id: string; why: NewEpoch | 'rebase'; known: string | null };

export async function readEpochs({ db, tables: { epochs } }: Reading): Promise<Epochs> {
  const isCurrent = isNull(epochs.ended_revision);
  const [current] = await db.select().from(epochs).where(isCurrent);
  const ended = await db
    .select()
    .from(epochs)
    .where(not(isCurrent))
    .orderBy(desc(epochs.created_at_ms))
    .limit(CONTROL_BOUNDS.epochsMax);
  return {
    current: current?.id ?? null,
    ended: new Map(ended.map(({ id, ended_revision }) => [id, ended_revision ?? -1])),
  };
}

/** The first epoch of a database is no change that anyone has to see. */
export async function beginEpoch(change: Change, { id, why, known }: BeginEpoch): Promise<void> {
  const { db, tables, nowMs: created_at_ms } = change;
  const { epochs } = tables;
  const ended_revision = await revisionOf(change);
  await db.update(epochs).set({ ended_revision }).where(isNull(epochs.ended_revision));
  if (known !== null) {
    const row = { id: known, ended_revision: -1, created_at_ms };
    await db.insert(epochs).values(row).onConflictDoNothing();
  }
  await db.insert(epochs).values({ id, ended_revision: null, created_at_ms });
  const old = await db
    .select({ id: epochs.id })
    .from(epochs)
    .orderBy(desc(epochs.created_at_ms))
    .limit(CONTROL_BOUNDS.epochsMax)
    .offset(CONTROL_BOUNDS.epochsMax);
  const ids = old.map((row) => row.id).filter((one) => one !== id);
  if (ids.length > 0) await db.delete(epochs).where(inArray(epochs.id, ids));
  if (why !== 'first')
    await change.record({ actor: 'control', action: 'epoch.begin', target: id, detail: { why } });
}

/** `from` is what the node has; `newEpoch` is used where the current epoch may be one that the node has left. */
export type RebaseInput = { id: string; from: Position; newEpoch: string; actor: string };

/** A repetition changes nothing. */
export async function rebase(change: Change, input: RebaseInput): Promise<void> {
  const { db, tables } = change;
  const { id, from, newEpoch, actor } = input;
  const known = (await findNode(change, id)).rebase;
  const epochs = await readEpochs(change);
  const isKnown = known?.epoch === from.epoch && known.revision >= from.revision;
  if (isKnown && isFresh(epochs, from.epoch)) return;
  if (!isFresh(epochs, from.epoch)) {
    const isForeign = from.epoch !== epochs.current;
    await beginEpoch(change, { id: newEpoch, why: 'rebase', known: isForeign ? from.epoch : null });
  }
  await db.update(tables.nodes).set({ rebase: from }).where(eq(tables.nodes.id, id));
  await change.record({ actor, action: 'node.rebase', target: id, detail: { from } });
}

/** Null where the node may not fall back. */
export async function rebaseOf({ db, tables: { nodes } }: Reading, id: string): Promise<Position | null> {
  const [row] = await db.select({ rebase: nodes.rebase }).from(nodes).where(eq(nodes.id, id));
  return row?.rebase ?? null;
}
