// How a node joins: an operator adds a join token, the node uses it up and gets a row.
import { and, count, eq, gt, lte, or, type SQL } from 'drizzle-orm';
import { CodedError } from '../../base/errors.ts';
import { CONTROL_BOUNDS } from '../../base/limits/control.ts';
import type { EdgeNode } from '../../model/node.ts';
import type { JoinRequest } from '../../model/protocol.ts';
import type { Change } from '../database/database.ts';
import { isoTime } from '../pages.ts';
import { type NodeRow, toNode } from './rows.ts';

/** `node_id` and `pop_id` say which node may use it; null stands for any. */
export type JoinToken = {
  hash: string;
  node_id: string | null;
  pop_id: string | null;
  ttl_ms: number;
};

/** Returns when it expires, in the time that people are shown. */
export async function addJoinToken(change: Change, input: JoinToken & { actor: string }): Promise<string> {
  const { db, tables, nowMs, latestMs } = change;
  const { joinTokens } = tables;
  const { actor, hash, node_id, pop_id, ttl_ms } = input;
  await db.delete(joinTokens).where(isExpired(change));
  const expires_at_ms = latestMs + ttl_ms;
  await db.insert(joinTokens).values({ hash, node_id, pop_id, created_at_ms: nowMs, expires_at_ms });
  const expires_at = isoTime(nowMs + ttl_ms);
  const detail = { pop_id, expires_at };
  await change.record({ actor, action: 'join_token.create', target: node_id ?? '*', detail });
  return expires_at;
}

/** Also a token whose expiry is further away than any may be: a clock that ran ahead has made it. */
function isExpired({ tables: { joinTokens }, latestMs }: Change): SQL | undefined {
  const { expires_at_ms } = joinTokens;
  return or(lte(expires_at_ms, latestMs), gt(expires_at_ms, latestMs + CONTROL_BOUNDS.joinTokenTtlMsMax));
}

export async function join(
  change: Change,
  input: JoinRequest & { join_token_hash: string; token_hash: string },
): Promise<EdgeNode> {
  const { db, tables, nowMs } = change;
  const { joinTokens, nodes } = tables;
  const { join_token_hash, token_hash, node_id: id, pop_id, labels, edge_version } = input;
  const isToken = eq(joinTokens.hash, join_token_hash);
  await db.delete(joinTokens).where(and(isToken, isExpired(change)));
  const [token] = await db.select().from(joinTokens).where(isToken);
  if (token === undefined) throw new CodedError('join_token_invalid');
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
  const row: NodeRow = {
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
  await db.insert(nodes).values(row);
  await change.record({
    actor: `node:${id}`,
    action: 'node.join',
    target: id,
    detail: { pop_id, again: known !== undefined },
  });
  return toNode(row);
}
