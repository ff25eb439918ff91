// The store's operations on nodes.
import { and, asc, eq, gt, inArray } from 'drizzle-orm';
import type { EdgeNode } from '../../model/node.ts';
import type { ObservedFunction } from '../../model/protocol.ts';
import type { Change, Database, Reading } from '../database/database.ts';
import { type Page, type PageRequest, pageOfRows } from '../pages.ts';
import { addJoinToken, join, type Joining, type JoinToken, sweepJoinTokens } from './join.ts';
import { type NodeHeartbeat, report, type Reported } from './reports.ts';
import { findNode, toNode } from './rows.ts';

/** What placing versions needs of a node; every node is read for it, so it leaves out what is large. */
export type FleetNode = Pick<EdgeNode, 'id' | 'pop_id' | 'labels' | 'status' | 'applied_revision'>;

export type NodeOperations = {
  /** Keeps the digest of the token only; returns when it expires. Also deletes tokens that have expired. */
  addJoinToken(input: JoinToken & { actor: string }): Promise<string>;
  /** Deletes join tokens that have expired. */
  sweepJoinTokens(): Promise<void>;
  /**
   * Binds the join token to the node's key; the first report of the node uses it up. A node of the same id is
   * replaced, and its token with it. Refuses `join_token_invalid` (unknown, used, expired, bound to another
   * key, or for another node or pop), `limit_reached`, and `node_id_taken` while a node of this id is not
   * offline, unless it has the same key or the token is for it.
   */
  join(input: Joining): Promise<EdgeNode>;
  /** Refuses `node_not_found`. */
  get(id: string): Promise<EdgeNode>;
  list(page: PageRequest): Promise<Page<EdgeNode>>;
  /** Every node, with the digest of the desired state that it has accepted; ordered by id. */
  all(): Promise<{ node: FleetNode; applied_digest: string | null }[]>;
  /** Also deletes what the node reported. Refuses `node_not_found`. */
  remove(input: { id: string; actor: string }): Promise<void>;
  /**
   * Writes what is new in a node's report; where nothing is, it writes nothing. Figures alone are new only
   * where they are due. Refuses `node_not_found`.
   */
  report(id: string, heartbeat: NodeHeartbeat, options: { isDue: boolean }): Promise<Reported>;
  statuses(): Promise<Pick<EdgeNode, 'id' | 'status'>[]>;
  /** Marks those that are still silent when it begins, and returns them. */
  markOffline(ids: readonly string[], isSilent: (id: string) => boolean): Promise<string[]>;
  /** What each node reports of one version of a function, by node. */
  observed(function_id: string, version: string): Promise<Map<string, ObservedFunction>>;
};

export function nodeOperations(database: Database): NodeOperations {
  return {
    addJoinToken: (input) => database.write((change) => addJoinToken(change, input)),
    sweepJoinTokens: () => database.write(sweepJoinTokens),
    join: (input) => database.write((change) => join(change, input)),
    get: (id) => database.read(async (reading) => toNode(await findNode(reading, id))),
    list: (page) => database.read((reading) => list(reading, page)),
    all: () =>
      database.read(async ({ db, tables: { nodes } }) => {
        const { id, pop_id, labels, status, applied_revision, applied_digest } = nodes;
        const columns = { id, pop_id, labels, status, applied_revision, applied_digest };
        const rows = await db.select(columns).from(nodes).orderBy(asc(id));
        return rows.map(({ applied_digest: digest, ...node }) => ({ node, applied_digest: digest }));
      }),
    remove: (input) => database.write((change) => remove(change, input)),
    report: (id, heartbeat, options) => report(database, id, { heartbeat, ...options }),
    statuses: () =>
      database.read(async ({ db, tables: { nodes } }) => {
        return await db.select({ id: nodes.id, status: nodes.status }).from(nodes);
      }),
    async markOffline(ids, isSilent) {
      if (ids.length === 0) return [];
      return await database.write((change) => markOffline(change, ids.filter(isSilent)));
    },
    observed: (function_id, version) =>
      database.read(async ({ db, tables: { nodeFunctions } }) => {
        const isVersion = and(eq(nodeFunctions.function_id, function_id), eq(nodeFunctions.version, version));
        const rows = await db.select().from(nodeFunctions).where(isVersion);
        return new Map(rows.map((row) => [row.node_id, row.observed]));
      }),
  };
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
  await change.record({ actor, action: 'node.delete', target: id });
}

async function markOffline(change: Change, ids: string[]): Promise<string[]> {
  const { db, tables } = change;
  const { nodes } = tables;
  if (ids.length > 0) await db.update(nodes).set({ status: 'offline' }).where(inArray(nodes.id, ids));
  for (const id of ids) await change.record({ actor: 'control', action: 'node.offline', target: id });
  return ids;
}
