// The store's operations on nodes.
import { and, asc, eq, gt, inArray } from 'drizzle-orm';
import { CodedError } from '../../base/errors.ts';
import { CONTROL_TUNING } from '../../base/limits/control.ts';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import type { LabelChanges, Labels } from '../../model/names.ts';
import type { EdgeNode } from '../../model/node.ts';
import { canonicalJson, type JoinRequest, type ObservedFunction } from '../../model/protocol.ts';
import type { NodeFact } from '../../model/rules/target.ts';
import type { Change, Database, Reading } from '../database/database.ts';
import { mark } from '../marks.ts';
import { type Page, type PageRequest, pageOfRows } from '../pages.ts';
import { addJoinToken, join, type JoinToken } from './join.ts';
import { type NodeHeartbeat, report, type Reported } from './reports.ts';
import { findNode, type NodeRow, toNode } from './rows.ts';

/** When a node was last heard: what the liveness rule reads. */
export type Silence = { id: string; status: EdgeNode['status']; last_heartbeat_ms: number | null };

export type NodeOperations = {
  /** Keeps the digest of the token only, and deletes tokens that have expired. */
  addJoinToken(input: JoinToken & { actor: string }): Promise<void>;
  /**
   * Uses the join token up; a node of the same id is replaced. Refuses `join_token_invalid` (unknown, used,
   * expired, or for another node or pop), `limit_reached`, and `node_id_taken` while a node of this id is not
   * offline, unless the token is for this node.
   */
  join(input: JoinRequest & { join_token_hash: string; token_hash: string }): Promise<EdgeNode>;
  /** Refuses `node_not_found`. */
  get(id: string): Promise<EdgeNode>;
  list(page: PageRequest): Promise<Page<EdgeNode>>;
  /** These nodes, with the digest of the desired state that each has accepted; ordered by id. */
  some(ids: readonly string[]): Promise<{ node: EdgeNode; applied_digest: string | null }[]>;
  /**
   * Changes the labels that are named, and removes those that are null. Refuses `node_not_found`, and
   * `limit_reached` where the node would have too many.
   */
  label(input: { id: string; labels: LabelChanges; actor: string }): Promise<EdgeNode>;
  /** Also deletes what the node reported. Refuses `node_not_found`. */
  remove(input: { id: string; actor: string }): Promise<void>;
  /** Writes what is new in a node's report. Refuses `node_not_found`. */
  report(id: string, heartbeat: NodeHeartbeat): Promise<Reported>;
  silences(): Promise<Silence[]>;
  markOffline(ids: readonly string[]): Promise<void>;
  /** What each node reports of one version of a function, by node. */
  observed(function_id: string, version: string): Promise<Map<string, ObservedFunction>>;
};

export function nodeOperations(database: Database): NodeOperations {
  return {
    addJoinToken: (input) => database.write((change) => addJoinToken(change, input)),
    join: (input) => database.write((change) => join(change, input)),
    get: (id) => database.read(async (reading) => toNode(await findNode(reading, id))),
    list: (page) => database.read((reading) => list(reading, page)),
    some: (ids) => database.read((reading) => some(reading, ids)),
    label: (input) => database.write((change) => label(change, input)),
    remove: (input) => database.write((change) => remove(change, input)),
    report: (id, heartbeat) => database.write((change) => report(change, id, heartbeat)),
    silences: () =>
      database.read(async ({ db, tables: { nodes } }) => {
        const { id, status, last_heartbeat_at_ms } = nodes;
        return await db.select({ id, status, last_heartbeat_ms: last_heartbeat_at_ms }).from(nodes);
      }),
    markOffline: (ids) => database.write((change) => markOffline(change, ids)),
    observed: (function_id, version) =>
      database.read(async ({ db, tables: { nodeFunctions } }) => {
        const isVersion = and(eq(nodeFunctions.function_id, function_id), eq(nodeFunctions.version, version));
        const rows = await db.select().from(nodeFunctions).where(isVersion);
        return new Map(rows.map((row) => [row.node_id, row.observed]));
      }),
  };
}

/** Every node as targets see it; ordered by id. */
export async function nodeFacts({ db, tables: { nodes } }: Reading): Promise<NodeFact[]> {
  const { id, pop_id, labels } = nodes;
  return await db.select({ id, pop_id, labels }).from(nodes).orderBy(asc(nodes.id));
}

async function some(
  { db, tables: { nodes } }: Reading,
  ids: readonly string[],
): Promise<{ node: EdgeNode; applied_digest: string | null }[]> {
  const found: NodeRow[] = [];
  for (let at = 0; at < ids.length; at += CONTROL_TUNING.idsPerQuery) {
    const part = ids.slice(at, at + CONTROL_TUNING.idsPerQuery);
    found.push(...(await db.select().from(nodes).where(inArray(nodes.id, part))));
  }
  found.sort((a, b) => (a.id < b.id ? -1 : 1));
  return found.map((row) => ({ node: toNode(row), applied_digest: row.applied_digest }));
}

async function label(
  change: Change,
  input: { id: string; labels: LabelChanges; actor: string },
): Promise<EdgeNode> {
  const { db, tables } = change;
  const { id, actor } = input;
  const row = await findNode(change, id);
  const entries = Object.entries({ ...row.labels, ...input.labels });
  const labels: Labels = Object.fromEntries(
    entries.flatMap(([name, value]) => (value === null ? [] : [[name, value]])),
  );
  if (Object.keys(labels).length > FUNCTION_BOUNDS.labelsMax) throw new CodedError('limit_reached');
  if (canonicalJson(labels) === canonicalJson(row.labels)) return toNode(row);
  await db.update(tables.nodes).set({ labels }).where(eq(tables.nodes.id, id));
  const revision = await change.record({ actor, action: 'node.label', target: id, detail: { labels } });
  await mark(change, 'nodes', revision);
  return toNode({ ...row, labels });
}

async function list({ db, tables: { nodes } }: Reading, page: PageRequest): Promise<Page<EdgeNode>> {
  const rows = await db
    .select()
    .from(nodes)
    .where(page.cursor === null ? undefined : gt(nodes.id, page.cursor))
    .orderBy(asc(nodes.id))
    .limit(page.limit + 1);
  return pageOfRows(rows, page.limit, (row) => row.id, toNode);
}

async function remove(change: Change, input: { id: string; actor: string }): Promise<void> {
  const { db, tables } = change;
  const { id, actor } = input;
  await findNode(change, id);
  await db.delete(tables.nodes).where(eq(tables.nodes.id, id));
  await mark(change, 'nodes', await change.record({ actor, action: 'node.delete', target: id }));
}

async function markOffline(change: Change, ids: readonly string[]): Promise<void> {
  const { db, tables } = change;
  const { nodes } = tables;
  await db
    .update(nodes)
    .set({ status: 'offline' })
    .where(inArray(nodes.id, [...ids]));
  for (const id of ids) await change.record({ actor: 'control', action: 'node.offline', target: id });
}
