// How a node joins: an operator adds a join token, the node uses it up and gets a row.
import { count, eq, lt } from 'drizzle-orm';
import { CodedError } from '../../base/errors.ts';
import { CONTROL_BOUNDS } from '../../base/limits/control.ts';
import type { Labels } from '../../model/names.ts';
import type { EdgeNode } from '../../model/node.ts';
import type { JoinRequest } from '../../model/protocol.ts';
import type { Change } from '../database/database.ts';
import { mark } from '../marks.ts';
import { type NodeRow, toNode } from './rows.ts';

/** `node_id` and `pop_id` say which node may use it; null stands for any. `labels` become those of the node. */
export type JoinToken = {
  hash: string;
  node_id: string | null;
  pop_id: string | null;
  labels: Labels;
  expires_at_ms: number;
};

export async function addJoinToken(change: Change, input: JoinToken & { actor: string }): Promise<void> {
  const { db, tables, nowMs } = change;
  const { joinTokens } = tables;
  const { actor, ...token } = input;
  await db.delete(joinTokens).where(lt(joinTokens.expires_at_ms, nowMs));
  await db.insert(joinTokens).values({ ...token, created_at_ms: nowMs });
  const { node_id, pop_id, labels, expires_at_ms } = token;
  await change.record({
    actor,
    action: 'join_token.create',
    target: node_id ?? '*',
    detail: { pop_id, labels, expires_at_ms },
  });
}

export async function join(
  change: Change,
  input: JoinRequest & { join_token_hash: string; token_hash: string },
): Promise<EdgeNode> {
  const { db, tables, nowMs } = change;
  const { joinTokens, nodes } = tables;
  const { join_token_hash, token_hash, node_id: id, pop_id, edge_version } = input;
  const isToken = eq(joinTokens.hash, join_token_hash);
  const [token] = await db.select().from(joinTokens).where(isToken);
  if (token === undefined || token.expires_at_ms <= nowMs) throw new CodedError('join_token_invalid');
  const isForAnother = (token.node_id ?? id) !== id || (token.pop_id ?? pop_id) !== pop_id;
  if (isForAnother)
    throw new CodedError('join_token_invalid', { message: 'This join token is for another node or pop.' });
  const [known] = await db.select().from(nodes).where(eq(nodes.id, id));
  if (known !== undefined && known.status !== 'offline' && token.node_id !== id)
    throw new CodedError('node_id_taken');
  const [all] = await db.select({ nodes: count() }).from(nodes);
  if (known === undefined && (all?.nodes ?? 0) >= CONTROL_BOUNDS.nodesMax)
    throw new CodedError('limit_reached');
  await db.delete(joinTokens).where(isToken);
  if (known !== undefined) await db.delete(nodes).where(eq(nodes.id, id));
  // Only a token for this id is meant for this very node: with another, anyone could take its labels over.
  const labels = token.node_id === id ? { ...known?.labels, ...token.labels } : token.labels;
  const row: NodeRow = {
    id,
    pop_id,
    labels,
    reported_labels: input.labels,
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
  await db.insert(nodes).values(row);
  const revision = await change.record({
    actor: `node:${id}`,
    action: 'node.join',
    target: id,
    detail: { pop_id, labels, again: known !== undefined },
  });
  await mark(change, 'nodes', revision);
  return toNode(row);
}
