// What a node reports with its heartbeats; only what is new is written.
import { and, eq, inArray } from 'drizzle-orm';
import { CONTROL_TUNING } from '../../base/limits/control.ts';
import type { EdgeNode } from '../../model/node.ts';
import { canonicalJson, type HeartbeatRequest, type ObservedFunction } from '../../model/protocol.ts';
import type { Change, Database, Reading } from '../database/database.ts';
import { spendJoinToken } from './join.ts';
import { findNode, type NodeRow, toNode } from './rows.ts';

export type NodeHeartbeat = Omit<HeartbeatRequest, 'hold_ms' | 'instance'>;

/** `moved`: the node's status or functions changed. `failed`: functions that newly report `error` or `failed`. */
export type Reported = { node: EdgeNode; moved: boolean; failed: ObservedFunction[] };

type ReportInput = { heartbeat: NodeHeartbeat; isDue: boolean };

/** Most heartbeats report nothing new: those are found out without a transaction that others wait for. */
export async function report(database: Database, id: string, input: ReportInput): Promise<Reported> {
  const seen = await database.read((reading) => compare(reading, id, input));
  if (!seen.isNew) return reportedOf(seen);
  return await database.write(async (change) => {
    const { db, tables } = change;
    const news = await compare(change, id, input);
    await spendJoinToken(change, news.known);
    await db.update(tables.nodes).set(news.next).where(eq(tables.nodes.id, id));
    await observe(change, id, news);
    return reportedOf(news);
  });
}

/** What a heartbeat changes. */
type News = Observations & { known: NodeRow; next: NodeRow; isMoved: boolean; isNew: boolean };

async function compare(reading: Reading, id: string, { heartbeat, isDue }: ReportInput): Promise<News> {
  const known = await findNode(reading, id);
  const { labels: reported_labels, wall = null } = heartbeat;
  const state = stateOf({ ...heartbeat, reported_labels, wall });
  const isMoved = canonicalJson(state) !== canonicalJson(stateOf(known));
  const { cpu_percent, mem_bytes, applied_revision } = heartbeat;
  const figures = { cpu_percent, mem_bytes, applied_revision, last_heartbeat_at_ms: reading.nowMs };
  const rebase = hasLeft(known, heartbeat) ? null : known.rebase;
  const next: NodeRow = { ...known, ...state, ...figures, rebase, join_token_hash: null };
  const observations = await compareFunctions(reading, id, { reported: heartbeat.functions, isDue });
  const isFirst = known.join_token_hash !== null || rebase !== known.rebase;
  const isNew =
    isMoved || isDue || isFirst || observations.puts.length > 0 || observations.deletes.length > 0;
  return { ...observations, known, next, isMoved, isNew };
}

/** Whether the node has left what an operator let it leave. */
function hasLeft({ rebase }: NodeRow, { applied_epoch }: NodeHeartbeat): boolean {
  return rebase !== null && applied_epoch !== undefined && applied_epoch !== rebase.epoch;
}

function reportedOf({ next, isMoved, hasChanged, failed }: News): Reported {
  return { node: toNode(next), moved: isMoved || hasChanged, failed };
}

/**
 * What is written at once when it changes; figures wait for the next write that is due. A revision without
 * another digest is a figure: a start of the control plane raises it on every node.
 */
type NodeState = Pick<NodeRow, 'status' | 'edge_version' | 'reported_labels' | 'wall' | 'applied_digest'>;

function stateOf(source: NodeState): NodeState {
  const { status, edge_version, reported_labels, wall, applied_digest } = source;
  return { status, edge_version, reported_labels, wall, applied_digest };
}

const keyOf = (function_id: string, version: string): string => `${function_id} ${version}`;

/** The versions that these functions have, by `keyOf`. */
async function knownVersions(
  { db, tables: { versions } }: Reading,
  functionIds: readonly string[],
): Promise<Set<string>> {
  const ids = [...new Set(functionIds)];
  const found = new Set<string>();
  for (let at = 0; at < ids.length; at += CONTROL_TUNING.idsPerQuery) {
    const rows = await db
      .select({ id: versions.function_id, version: versions.version })
      .from(versions)
      .where(inArray(versions.function_id, ids.slice(at, at + CONTROL_TUNING.idsPerQuery)));
    for (const row of rows) found.add(keyOf(row.id, row.version));
  }
  return found;
}

/** `hasChanged`: a state or an error, or which functions there are; figures are not among it. */
type Observations = {
  puts: ObservedFunction[];
  deletes: { function_id: string; version: string }[];
  hasChanged: boolean;
  failed: ObservedFunction[];
};

/** Versions that the control plane does not know are left out: a node is not trusted to name them. */
async function compareFunctions(
  reading: Reading,
  node_id: string,
  { reported, isDue }: { reported: readonly ObservedFunction[]; isDue: boolean },
): Promise<Observations> {
  const { db, tables } = reading;
  const { nodeFunctions } = tables;
  const held = await db.select().from(nodeFunctions).where(eq(nodeFunctions.node_id, node_id));
  const before = new Map(held.map((row) => [keyOf(row.function_id, row.version), row]));
  const after = new Map(reported.map((item) => [keyOf(item.id, item.version), item]));
  const added = [...after].filter(([key]) => !before.has(key));
  const known = await knownVersions(
    reading,
    added.map(([, { id }]) => id),
  );
  const deletes = [...before].filter(([key]) => !after.has(key)).map(([, row]) => row);
  const found: Observations = { puts: [], deletes, hasChanged: deletes.length > 0, failed: [] };
  for (const [key, observed] of after) {
    const old = before.get(key)?.observed;
    if (old === undefined && !known.has(key)) continue;
    const isMoved = old?.state !== observed.state || old.error !== observed.error;
    if (isMoved) found.hasChanged = true;
    if (isMoved && (observed.state === 'error' || observed.state === 'failed')) found.failed.push(observed);
    if (isMoved || (isDue && canonicalJson(old) !== canonicalJson(observed))) found.puts.push(observed);
  }
  return found;
}

async function observe(
  { db, tables, nowMs }: Change,
  node_id: string,
  { puts, deletes }: Observations,
): Promise<void> {
  const { nodeFunctions } = tables;
  for (const observed of puts) {
    const { id: function_id, version } = observed;
    await db
      .insert(nodeFunctions)
      .values({ node_id, function_id, version, observed, changed_at_ms: nowMs })
      .onConflictDoUpdate({
        target: [nodeFunctions.node_id, nodeFunctions.function_id, nodeFunctions.version],
        set: { observed, changed_at_ms: nowMs },
      });
  }
  for (const { function_id, version } of deletes) {
    const isVersion = and(eq(nodeFunctions.function_id, function_id), eq(nodeFunctions.version, version));
    await db.delete(nodeFunctions).where(and(eq(nodeFunctions.node_id, node_id), isVersion));
  }
}
