// What a node reports with its heartbeats; only what is new is written.
import { and, eq, inArray } from 'drizzle-orm';
import { CONTROL_TUNING } from '../../base/limits/control.ts';
import { SYNC_TUNING } from '../../base/limits/sync.ts';
import type { EdgeNode } from '../../model/node.ts';
import { canonicalJson, type HeartbeatRequest, type ObservedFunction } from '../../model/protocol.ts';
import type { Change, Reading } from '../database/database.ts';
import { findNode, type NodeRow, toNode } from './rows.ts';

export type NodeHeartbeat = Omit<HeartbeatRequest, 'hold_ms'>;

/** `moved`: the node's status or functions changed. `failed`: functions that newly report `error` or `failed`. */
export type Reported = { node: EdgeNode; moved: boolean; failed: ObservedFunction[] };

export async function report(change: Change, id: string, heartbeat: NodeHeartbeat): Promise<Reported> {
  const { db, tables, nowMs } = change;
  const { nodes } = tables;
  const known = await findNode(change, id);
  const { cpu_percent, mem_bytes } = heartbeat;
  const state = stateOf({ ...heartbeat, reported_labels: heartbeat.labels });
  const moved = canonicalJson(state) !== canonicalJson(stateOf(known));
  const isDue = nowMs - (known.last_heartbeat_at_ms ?? 0) >= SYNC_TUNING.heartbeatPersistMs;
  const next: NodeRow = { ...known, ...state, cpu_percent, mem_bytes, last_heartbeat_at_ms: nowMs };
  if (moved || isDue) await db.update(nodes).set(next).where(eq(nodes.id, id));
  const { changed, failed } = await observe(change, id, heartbeat.functions);
  return { node: toNode(next), moved: moved || changed, failed };
}

/** What is written at once when it changes; figures wait for the next write that is due. */
type NodeState = Pick<
  NodeRow,
  'status' | 'edge_version' | 'reported_labels' | 'applied_revision' | 'applied_digest'
>;

function stateOf(source: NodeState): NodeState {
  const { status, edge_version, reported_labels, applied_revision, applied_digest } = source;
  return { status, edge_version, reported_labels, applied_revision, applied_digest };
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

/** Versions that the control plane does not know are left out: a node is not trusted to name them. */
async function observe(
  change: Change,
  node_id: string,
  reported: readonly ObservedFunction[],
): Promise<{ changed: boolean; failed: ObservedFunction[] }> {
  const { db, tables, nowMs } = change;
  const { nodeFunctions } = tables;
  const isOfNode = eq(nodeFunctions.node_id, node_id);
  const held = await db.select().from(nodeFunctions).where(isOfNode);
  const before = new Map(held.map((row) => [keyOf(row.function_id, row.version), row]));
  const after = new Map(reported.map((item) => [keyOf(item.id, item.version), item]));
  const added = [...after].filter(([key]) => !before.has(key));
  const known = await knownVersions(
    change,
    added.map(([, { id }]) => id),
  );
  const failed: ObservedFunction[] = [];
  let changed = false;
  for (const [key, observed] of after) {
    const old = before.get(key)?.observed;
    if (old === undefined && !known.has(key)) continue;
    if (old !== undefined && canonicalJson(old) === canonicalJson(observed)) continue;
    const moved = old?.state !== observed.state || old.error !== observed.error;
    if (moved) changed = true;
    if (moved && (observed.state === 'error' || observed.state === 'failed')) failed.push(observed);
    const { id: function_id, version } = observed;
    await db
      .insert(nodeFunctions)
      .values({ node_id, function_id, version, observed, changed_at_ms: nowMs })
      .onConflictDoUpdate({
        target: [nodeFunctions.node_id, nodeFunctions.function_id, nodeFunctions.version],
        set: { observed, changed_at_ms: nowMs },
      });
  }
  for (const [key, { function_id, version }] of before) {
    if (after.has(key)) continue;
    changed = true;
    const isVersion = and(eq(nodeFunctions.function_id, function_id), eq(nodeFunctions.version, version));
    await db.delete(nodeFunctions).where(and(isOfNode, isVersion));
  }
  return { changed, failed };
}
