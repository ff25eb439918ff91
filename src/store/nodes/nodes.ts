// Closed operations on nodes: join, report, list, delete.
import { and, asc, eq, gt, inArray } from 'drizzle-orm';
import type { EdgeNode } from '../../model/node.ts';
import type { JoinRequest, ObservedFunction } from '../../model/protocol.ts';
import type { Database } from '../database/database.ts';
import { type Page, type PageRequest, pageOfRows } from '../pages.ts';
import * as tables from '../sqlite/tables.ts';
import { addJoinToken, join, type JoinToken } from './join.ts';
import { type NodeHeartbeat, report } from './reports.ts';
import { findNode, toNode } from './rows.ts';

const { nodeFunctions, nodes } = tables;

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
