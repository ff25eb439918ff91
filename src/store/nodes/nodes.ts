// The store's operations on nodes.
import { and, asc, eq, gt, inArray } from 'drizzle-orm';
import { CodedError } from '../../base/errors.ts';
import { CONTROL_TUNING } from '../../base/limits/control.ts';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import type { Position } from '../../model/epoch.ts';
import type { LabelChanges, Labels } from '../../model/names.ts';
import type { EdgeNode } from '../../model/node.ts';
import { canonicalJson, type ObservedFunction } from '../../model/protocol.ts';
import type { Epochs } from '../../model/rules/epoch.ts';
import type { NodeFact } from '../../model/target/target.ts';
import type { Change, Database, Reading } from '../database/database.ts';
import { mark } from '../marks.ts';
import { type Page, type PageRequest, pageOfRows } from '../pages.ts';
import { beginEpoch, type BeginEpoch, readEpochs, rebase, type RebaseInput, rebaseOf } from './epochs.ts';
import { addJoinToken, join, type Joining, type JoinToken, sweepJoinTokens } from './join.ts';
import { type NodeHeartbeat, report, type Reported } from './reports.ts';
import { findNode, type NodeRow, toNode } from './rows.ts';

/** What the progress of a deployment needs of a node: with many nodes, what is large is left out. */
export type FleetNode = Pick<NodeRow, 'id' | 'pop_id' | 'status' | 'applied_revision' | 'applied_digest'>;

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
  /** These nodes as the progress of a deployment shows them; ordered by id. */
  some(ids: readonly string[]): Promise<FleetNode[]>;
  /**
   * Changes the labels that are named, and removes those that are null. Refuses `node_not_found`, and
   * `limit_reached` where the node would have too many.
   */
  label(input: { id: string; labels: LabelChanges; actor: string }): Promise<EdgeNode>;
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
  epochs(): Promise<Epochs>;
  /** Ends the current epoch; also an audit row, but for the first. */
  beginEpoch(input: BeginEpoch): Promise<void>;
  /** Lets a node leave what it has for the state of this database. Refuses `node_not_found`. */
  rebase(input: RebaseInput): Promise<void>;
  /** What the node may leave, up to its revision; null for nothing. */
  rebaseOf(id: string): Promise<Position | null>;
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
    some: (ids) => database.read((reading) => some(reading, ids)),
    label: (input) => database.write((change) => label(change, input)),
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
    epochs: () => database.read(readEpochs),
    beginEpoch: (input) => database.write((change) => beginEpoch(change, input)),
    rebase: (input) => database.write((change) => rebase(change, input)),
    rebaseOf: (id) => database.read((reading) => rebaseOf(reading, id)),
    observed: (function_id, version) =>
      database.read(async ({ db, tables: { nodeFunctions } }) => {
        const isVersion = and(eq(nodeFunctions.function_id, function_id), eq(nodeFunctions.version, version));
        const rows = await db.select().from(nodeFunctions).where(isVersion);
        return new Map(rows.map((row) => [row.node_id, row.observed]));
      }),
  };
}

export function nodeEpochs(reading: Reading): Promise<Epochs> {
  return readEpochs(reading);
}

/** Every node as targets see it; ordered by id. */
export async function nodeFacts({ db, tables: { nodes } }: Reading): Promise<NodeFact[]> {
  const { id, pop_id, labels } = nodes;
  return await db.select({ id, pop_id, labels }).from(nodes).orderBy(asc(nodes.id));
}

async function some({ db, tables: { nodes } }: Reading, ids: readonly string[]): Promise<FleetNode[]> {
  const { id, pop_id, status, applied_revision, applied_digest } = nodes;
  const columns = { id, pop_id, status, applied_revision, applied_digest };
  const found: FleetNode[] = [];
  for (let at = 0; at < ids.length; at += CONTROL_TUNING.idsPerQuery) {
    const part = ids.slice(at, at + CONTROL_TUNING.idsPerQuery);
    found.push(...(await db.select(columns).from(nodes).where(inArray(id, part))));
  }
  return found.sort((a, b) => (a.id < b.id ? -1 : 1));
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

async function markOffline(change: Change, ids: string[]): Promise<string[]> {
  const { db, tables } = change;
  const { nodes } = tables;
  if (ids.length > 0) await db.update(nodes).set({ status: 'offline' }).where(inArray(nodes.id, ids));
  for (const id of ids) await change.record({ actor: 'control', action: 'node.offline', target: id });
  return ids;
}
