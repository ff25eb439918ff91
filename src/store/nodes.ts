// Closed operations on nodes: join, report, list, delete.
import { and, asc, eq, gt, inArray, lt } from 'drizzle-orm';
import { CodedError } from '../base/errors.ts';
import { CONTROL_BOUNDS } from '../base/limits/control.ts';
import { SYNC_TUNING } from '../base/limits/sync.ts';
import type { EdgeNode } from '../model/node.ts';
import {
  canonicalJson,
  type HeartbeatRequest,
  type JoinRequest,
  type ObservedFunction,
} from '../model/protocol.ts';
import { isoTime, type Page, type PageRequest, pageOfRows } from './pages.ts';
import type { Change, Database, Query } from './database.ts';
import * as tables from './sqlite/tables.ts';

const { joinTokens, nodeFunctions, nodes, versions } = tables;

/** Bound values per statement, far below SQLite's limit. */
const IDS_PER_QUERY = 500;

type Row = typeof nodes.$inferSelect;
export type JoinToken = {
  hash: string;
  node_id: string | null;
  pop_id: string | null;
  expires_at_ms: number;
};
export type NodeHeartbeat = Omit<HeartbeatRequest, 'hold_ms'>;

/** `silent` rows are what the liveness rule reads. */
export type NodeOperations = {
  /** Only the digest of the token is kept; expired ones are dropped on the way. */
  addJoinToken(input: JoinToken & { actor: string }): Promise<void>;
  /**
   * Uses the join token up. Refuses `join_token_invalid` (unknown, used, expired, or made for another node or
   * pop), `limit_reached`, and `node_id_taken` where a node of this id is not offline and the token was not
   * made for it.
   */
  join(input: JoinRequest & { join_token_hash: string; token_hash: string }): Promise<EdgeNode>;
  /** Refuses `node_not_found`. */
  get(id: string): Promise<EdgeNode>;
  list(page: PageRequest): Promise<Page<EdgeNode>>;
  /** Every node, with the digest of the desired state that it has accepted; ordered by id. */
  all(): Promise<{ node: EdgeNode; applied_digest: string | null }[]>;
  /** Refuses `node_not_found`. What the node reported goes with it. */
  remove(input: { id: string; actor: string }): Promise<void>;
  /**
   * Keeps what a node reports, as far as it is new. `moved`: its status or what it says of functions changed.
   * `failed`: functions that newly report `error`. Refuses `node_not_found`.
   */
  report(
    id: string,
    heartbeat: NodeHeartbeat,
  ): Promise<{ node: EdgeNode; moved: boolean; failed: ObservedFunction[] }>;
  silences(): Promise<{ id: string; status: EdgeNode['status']; last_heartbeat_ms: number | null }[]>;
  markOffline(ids: readonly string[]): Promise<void>;
  /** What every node says of one version of a function. */
  observed(function_id: string, version: string): Promise<Map<string, ObservedFunction>>;
};

export function nodeOperations(database: Database): NodeOperations {
  return {
    addJoinToken: (input) => database.write((change) => addJoinToken(change, input)),
    join: (input) => database.write((change) => join(change, input)),
    get: (id) => database.read((db) => toNode(findNode(db, id))),
    list: (page) =>
      database.read((db) => {
        const after = page.cursor === null ? undefined : gt(nodes.id, page.cursor);
        const rows = db
          .select()
          .from(nodes)
          .where(after)
          .orderBy(asc(nodes.id))
          .limit(page.limit + 1)
          .all();
        return pageOfRows(rows, page.limit, (row) => row.id, toNode);
      }),
    all: () =>
      database.read((db) => {
        const rows = db.select().from(nodes).orderBy(asc(nodes.id)).all();
        return rows.map((row) => ({ node: toNode(row), applied_digest: row.applied_digest }));
      }),
    remove: (input) =>
      database.write(({ tx, record }) => {
        findNode(tx, input.id);
        tx.delete(nodes).where(eq(nodes.id, input.id)).run();
        record({ actor: input.actor, action: 'node.delete', target: input.id });
      }),
    report: (id, heartbeat) => database.write((change) => report(change, id, heartbeat)),
    silences: () =>
      database.read((db) => {
        const { id, status, last_heartbeat_at_ms } = nodes;
        return db.select({ id, status, last_heartbeat_ms: last_heartbeat_at_ms }).from(nodes).all();
      }),
    markOffline: (ids) =>
      database.write(({ tx, record }) => {
        tx.update(nodes)
          .set({ status: 'offline' })
          .where(inArray(nodes.id, [...ids]))
          .run();
        for (const id of ids) record({ actor: 'control', action: 'node.offline', target: id });
      }),
    observed: (function_id, version) =>
      database.read((db) => {
        const key = and(eq(nodeFunctions.function_id, function_id), eq(nodeFunctions.version, version));
        const rows = db.select().from(nodeFunctions).where(key).all();
        return new Map(rows.map((row) => [row.node_id, row.observed]));
      }),
  };
}

function addJoinToken(change: Change, input: JoinToken & { actor: string }): void {
  const { tx, nowMs } = change;
  const { actor, ...token } = input;
  tx.delete(joinTokens).where(lt(joinTokens.expires_at_ms, nowMs)).run();
  tx.insert(joinTokens)
    .values({ ...token, created_at_ms: nowMs })
    .run();
  const { node_id, pop_id, expires_at_ms } = token;
  change.record({
    actor,
    action: 'join_token.create',
    target: node_id ?? '*',
    detail: { pop_id, expires_at_ms },
  });
}

function join(
  change: Change,
  input: JoinRequest & { join_token_hash: string; token_hash: string },
): EdgeNode {
  const { tx, nowMs } = change;
  const { join_token_hash, token_hash, node_id: id, pop_id, labels, edge_version } = input;
  const token = tx.select().from(joinTokens).where(eq(joinTokens.hash, join_token_hash)).get();
  if (token === undefined || token.expires_at_ms <= nowMs) throw new CodedError('join_token_invalid');
  const foreign = (token.node_id ?? id) !== id || (token.pop_id ?? pop_id) !== pop_id;
  if (foreign)
    throw new CodedError('join_token_invalid', { message: 'This join token is for another node or pop.' });
  const known = tx.select().from(nodes).where(eq(nodes.id, id)).get();
  if (known !== undefined && known.status !== 'offline' && token.node_id !== id)
    throw new CodedError('node_id_taken');
  const count = tx.select({ id: nodes.id }).from(nodes).all().length;
  if (known === undefined && count >= CONTROL_BOUNDS.nodesMax) throw new CodedError('limit_reached');
  tx.delete(joinTokens).where(eq(joinTokens.hash, join_token_hash)).run();
  if (known !== undefined) tx.delete(nodes).where(eq(nodes.id, id)).run();
  const row: Row = {
    id,
    pop_id,
    labels,
    edge_version,
    token_hash,
    status: 'online',
    applied_revision: 0,
    applied_digest: null,
    cpu_percent: 0,
    mem_bytes: 0,
    joined_at_ms: nowMs,
    last_heartbeat_at_ms: null,
  };
  tx.insert(nodes).values(row).run();
  change.record({
    actor: `node:${id}`,
    action: 'node.join',
    target: id,
    detail: { pop_id, again: known !== undefined },
  });
  return toNode(row);
}

function report(
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
  const next: Row = { ...known, ...said, cpu_percent, mem_bytes, last_heartbeat_at_ms: nowMs };
  if (moved || aged) tx.update(nodes).set(next).where(eq(nodes.id, id)).run();
  const { changed, failed } = observe(change, id, heartbeat.functions);
  return { node: toNode(next), moved: moved || changed, failed };
}

type Said = Pick<Row, 'status' | 'edge_version' | 'labels' | 'applied_revision' | 'applied_digest'>;

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

function findNode(db: Query, id: string): Row {
  const row = db.select().from(nodes).where(eq(nodes.id, id)).get();
  if (row === undefined) throw new CodedError('node_not_found');
  return row;
}

function toNode(row: Row): EdgeNode {
  const { id, pop_id, labels, status, edge_version, applied_revision, cpu_percent, mem_bytes } = row;
  return {
    id,
    pop_id,
    labels,
    status,
    edge_version,
    applied_revision,
    cpu_percent,
    mem_bytes,
    joined_at: isoTime(row.joined_at_ms),
    last_heartbeat_at: row.last_heartbeat_at_ms === null ? null : isoTime(row.last_heartbeat_at_ms),
  };
}
