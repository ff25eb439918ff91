// How a node joins: an operator adds a join token, the node binds it to its key, then uses it up.
import { and, count, eq, gt, lte, or, type SQL } from 'drizzle-orm';
import { CodedError } from '../../base/errors.ts';
import { CONTROL_BOUNDS } from '../../base/limits/control.ts';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import type { Labels } from '../../model/names.ts';
import type { EdgeNode } from '../../model/node.ts';
import type { JoinRequest } from '../../model/protocol.ts';
import type { Change } from '../database/database.ts';
import { mark } from '../marks.ts';
import { isoTime } from '../pages.ts';
import type { Tables } from '../schema.ts';
import { type NodeRow, toNode } from './rows.ts';

/** `node_id` and `pop_id` say which node may use it; null stands for any. `labels` become those of the node. */
export type JoinToken = {
  hash: string;
  node_id: string | null;
  pop_id: string | null;
  labels: Labels;
  ttl_ms: number;
};

type JoinTokenRow = Tables['joinTokens']['$inferSelect'];

/** Returns when it expires, in the time that people are shown. */
export async function addJoinToken(change: Change, input: JoinToken & { actor: string }): Promise<string> {
  const { db, tables, nowMs, latestMs } = change;
  const { joinTokens } = tables;
  const { actor, hash, node_id, pop_id, labels, ttl_ms } = input;
  await db.delete(joinTokens).where(isExpired(change));
  const expires_at_ms = latestMs + ttl_ms;
  await db.insert(joinTokens).values({ hash, node_id, pop_id, labels, created_at_ms: nowMs, expires_at_ms });
  const expires_at = isoTime(nowMs + ttl_ms);
  const detail = { pop_id, labels, expires_at };
  await change.record({ actor, action: 'join_token.create', target: node_id ?? '*', detail });
  return expires_at;
}

/** Deletes the tokens that have expired. */
export async function sweepJoinTokens(change: Change): Promise<void> {
  await change.db.delete(change.tables.joinTokens).where(isExpired(change));
}

/** Also a token whose expiry is further away than any may be: a clock that ran ahead has made it. */
function isExpired({ tables: { joinTokens }, latestMs }: Change): SQL | undefined {
  const { expires_at_ms } = joinTokens;
  return or(lte(expires_at_ms, latestMs), gt(expires_at_ms, latestMs + CONTROL_BOUNDS.joinTokenTtlMsMax));
}

/** What the store keeps of a join: the proof was checked before. */
export type Joining = Omit<JoinRequest, 'proof'> & { join_token_hash: string; token_hash: string };

export async function join(change: Change, input: Joining): Promise<EdgeNode> {
  const { db, tables, nowMs } = change;
  const { joinTokens, nodes } = tables;
  const { join_token_hash, token_hash, node_id: id, public_key, pop_id, edge_version } = input;
  const token = await findJoinToken(change, input);
  const [known] = await db.select().from(nodes).where(eq(nodes.id, id));
  const isSame = known?.public_key === public_key;
  if (known !== undefined && !isSame && known.status !== 'offline' && token.node_id !== id)
    throw new CodedError('node_id_taken');
  const [all] = await db.select({ nodes: count() }).from(nodes);
  if (known === undefined && (all?.nodes ?? 0) >= CONTROL_BOUNDS.nodesMax)
    throw new CodedError('limit_reached');
  const labels = labelsOf({ known, isSame, id, token });
  const bound = { public_key, node_id: id, pop_id };
  await db.update(joinTokens).set(bound).where(eq(joinTokens.hash, join_token_hash));
  if (known !== undefined) await db.delete(nodes).where(eq(nodes.id, id));
  const row: NodeRow = {
    id,
    pop_id,
    labels,
    reported_labels: input.labels,
    edge_version,
    token_hash,
    public_key,
    join_token_hash,
    rebase: null,
    status: 'online',
    applied_revision: 0,
    applied_digest: null,
    cpu_percent: 0,
    mem_bytes: 0,
    wall: null,
    joined_at_ms: isSame ? known.joined_at_ms : nowMs,
    last_heartbeat_at_ms: null,
  };
  await db.insert(nodes).values(row);
  const revision = await change.record({
    actor: `node:${id}`,
    action: 'node.join',
    target: id,
    detail: { pop_id, labels, again: known !== undefined, same_key: isSame },
  });
  await mark(change, 'nodes', revision);
  return toNode(row);
}

/**
 * Labels come from the token. Its own key, or a token for its id, shows that this is the node that is known, which
 * keeps its own: with another token anyone could take them over. Refuses `limit_reached`.
 */
function labelsOf(join: {
  known: NodeRow | undefined;
  isSame: boolean;
  id: string;
  token: JoinTokenRow;
}): Labels {
  const { known, isSame, id, token } = join;
  if (!isSame && token.node_id !== id) return token.labels;
  const labels = { ...known?.labels, ...token.labels };
  if (Object.keys(labels).length <= FUNCTION_BOUNDS.labelsMax) return labels;
  const message = `With those of its join token the node has more than ${FUNCTION_BOUNDS.labelsMax} labels.`;
  throw new CodedError('limit_reached', { message });
}

/** Refuses `join_token_invalid`, also where another key has used the token, or it is for another node or pop. */
async function findJoinToken(
  change: Change,
  { join_token_hash, node_id, pop_id, public_key }: Joining,
): Promise<JoinTokenRow> {
  const { db, tables } = change;
  const { joinTokens } = tables;
  const isToken = eq(joinTokens.hash, join_token_hash);
  await db.delete(joinTokens).where(and(isToken, isExpired(change)));
  const [token] = await db.select().from(joinTokens).where(isToken);
  if (token === undefined) throw new CodedError('join_token_invalid');
  if ((token.public_key ?? public_key) !== public_key)
    throw new CodedError('join_token_invalid', {
      message: 'Another node has used this join token: run `edge join-token` for another one.',
    });
  if ((token.node_id ?? node_id) !== node_id || (token.pop_id ?? pop_id) !== pop_id)
    throw new CodedError('join_token_invalid', { message: 'This join token is for another node or pop.' });
  return token;
}

/** The node has used what it got for its join token: from now on nobody joins with that token. */
export async function spendJoinToken({ db, tables }: Change, node: NodeRow): Promise<void> {
  const { joinTokens, nodes } = tables;
  if (node.join_token_hash === null) return;
  await db.delete(joinTokens).where(eq(joinTokens.hash, node.join_token_hash));
  await db.update(nodes).set({ join_token_hash: null }).where(eq(nodes.id, node.id));
}
