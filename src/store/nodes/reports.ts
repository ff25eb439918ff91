// What a node reports with its heartbeats, kept as far as it is new.
import { and, eq, inArray } from 'drizzle-orm';
import { SYNC_TUNING } from '../../base/limits/sync.ts';
import type { EdgeNode } from '../../model/node.ts';
import { canonicalJson, type HeartbeatRequest, type ObservedFunction } from '../../model/protocol.ts';
import type { Change, Query } from '../database/database.ts';
import * as tables from '../sqlite/tables.ts';
import { findNode, type NodeRow, toNode } from './rows.ts';

const { nodeFunctions, nodes, versions } = tables;

/** Bound values per statement, far below SQLite's limit. */
const IDS_PER_QUERY = 500;

export type NodeHeartbeat = Omit<HeartbeatRequest, 'hold_ms'>;

export function report(
  change: Change,
  id: string,
  heartbeat: NodeHeartbeat,
): { node: EdgeNode; moved: boolean; failed: ObservedFunction[] } {
  const { tx, nowMs } = change;
  const known = findNode(tx, id);
  const { cpu_percent, mem_bytes } = heartbeat;
  const said = saidOf(heartbeat);
  const moved = canonicalJson(said) !== canonicalJson(saidOf(known));
  const aged = nowMs - (known.last_heartbeat_at_ms ?? 0) >= SYNC_TUNING.heartbeatPersistMs;
  const next: NodeRow = { ...known, ...said, cpu_percent, mem_bytes, last_heartbeat_at_ms: nowMs };
  if (moved || aged) tx.update(nodes).set(next).where(eq(nodes.id, id)).run();
  const { changed, failed } = observe(change, id, heartbeat.functions);
  return { node: toNode(next), moved: moved || changed, failed };
}

type Said = Pick<NodeRow, 'status' | 'edge_version' | 'labels' | 'applied_revision' | 'applied_digest'>;

function saidOf(source: Said): Said {
  const { status, edge_version, labels, applied_revision, applied_digest } = source;
  return { status, edge_version, labels, applied_revision, applied_digest };
}

const keyOf = (id: string, version: string): string => `${id} ${version}`;

/** The versions of these functions, as far as there are any, by `keyOf`. */
function knownVersions(tx: Query, functionIds: readonly string[]): Set<string> {
  const ids = [...new Set(functionIds)];
  const found = new Set<string>();
  for (let at = 0; at < ids.length; at += IDS_PER_QUERY) {
    const some = inArray(versions.function_id, ids.slice(at, at + IDS_PER_QUERY));
    const rows = tx
      .select({ id: versions.function_id, version: versions.version })
      .from(versions)
      .where(some)
      .all();
    for (const row of rows) found.add(keyOf(row.id, row.version));
  }
  return found;
}

/** Versions that the control plane does not know are left out: a node may say anything. */
function observe(
  change: Change,
  node_id: string,
  reported: readonly ObservedFunction[],
): { changed: boolean; failed: ObservedFunction[] } {
  const { tx, nowMs } = change;
  const held = tx.select().from(nodeFunctions).where(eq(nodeFunctions.node_id, node_id)).all();
  const before = new Map(held.map((row) => [keyOf(row.function_id, row.version), row]));
  const after = new Map(reported.map((item) => [keyOf(item.id, item.version), item]));
  const known = knownVersions(
    tx,
    [...after.entries()].filter(([key]) => !before.has(key)).map(([, { id }]) => id),
  );
  const failed: ObservedFunction[] = [];
  let changed = false;
  for (const [key, observed] of after) {
    const old = before.get(key)?.observed;
    if (old === undefined && !known.has(key)) continue;
    if (old !== undefined && canonicalJson(old) === canonicalJson(observed)) continue;
    const moved = old?.state !== observed.state || old.error !== observed.error;
    if (moved) changed = true;
    if (moved && observed.state === 'error') failed.push(observed);
    const row = {
      node_id,
      function_id: observed.id,
      version: observed.version,
      observed,
      changed_at_ms: nowMs,
    };
    const { node_id: node, function_id, version } = nodeFunctions;
    const update = { target: [node, function_id, version], set: { observed, changed_at_ms: nowMs } };
    tx.insert(nodeFunctions).values(row).onConflictDoUpdate(update).run();
  }
  for (const [key, row] of before) {
    if (after.has(key)) continue;
    changed = true;
    const of = and(eq(nodeFunctions.node_id, node_id), eq(nodeFunctions.function_id, row.function_id));
    tx.delete(nodeFunctions)
      .where(and(of, eq(nodeFunctions.version, row.version)))
      .run();
  }
  return { changed, failed };
}
