// How a node joins: join tokens, and the row that using one makes.
import { eq, lt } from 'drizzle-orm';
import { CodedError } from '../../base/errors.ts';
import { CONTROL_BOUNDS } from '../../base/limits/control.ts';
import type { EdgeNode } from '../../model/node.ts';
import type { JoinRequest } from '../../model/protocol.ts';
import type { Change } from '../database/database.ts';
import * as tables from '../sqlite/tables.ts';
import { type NodeRow, toNode } from './rows.ts';

const { joinTokens, nodes } = tables;

export type JoinToken = {
  hash: string;
  node_id: string | null;
  pop_id: string | null;
  expires_at_ms: number;
};

export function addJoinToken(change: Change, input: JoinToken & { actor: string }): void {
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

export function join(
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
  tx.insert(nodes).values(row).run();
  change.record({
    actor: `node:${id}`,
    action: 'node.join',
    target: id,
    detail: { pop_id, again: known !== undefined },
  });
  return toNode(row);
}
