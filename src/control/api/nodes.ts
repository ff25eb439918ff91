// Nodes over HTTP: join tokens, joining, heartbeats, and what the control plane knows of nodes.
import { Type } from '@sinclair/typebox';
import type { AnyElysia } from 'elysia';
import { CodedError } from '../../base/errors.ts';
import { CONTROL_DEFAULTS } from '../../base/limits/control.ts';
import { SYNC_BOUNDS } from '../../base/limits/sync.ts';
import { JoinTokenAnswer, JoinTokenRequest, pageOf } from '../../model/api.ts';
import { EdgeNode } from '../../model/node.ts';
import { HeartbeatAnswer, HeartbeatRequest, JoinAnswer, JoinRequest } from '../../model/protocol.ts';
import { bearerOf, tokenHash } from '../auth/auth.ts';
import { jsonBody, jsonUpTo } from '../http/bodies.ts';
import { type ApiParts, createResource, pageAnswer, PageQuery, pageRequest } from './resource.ts';

const NodeParams = Type.Object({ id: Type.String() });
const heartbeatBody = jsonUpTo(SYNC_BOUNDS.heartbeatBytesMax);

export function nodesApi(parts: ApiParts): AnyElysia {
  const { store, contexts } = parts;
  return createResource('/api/v1/nodes')
    .post(
      '/join-tokens',
      async ({ body, request, status }) =>
        status(201, await addJoinToken(parts, body, contexts.actorOf(request))),
      { parse: [jsonBody, 'json'], body: JoinTokenRequest, response: { 201: JoinTokenAnswer } },
    )
    .post('/join', async ({ body, request, status }) => status(201, await join(parts, body, request)), {
      parse: [jsonBody, 'json'],
      body: JoinRequest,
      response: { 201: JoinAnswer },
    })
    .post('/:id/heartbeat', ({ params, body, request }) => heartbeat(parts, params.id, body, request), {
      params: NodeParams,
      parse: [heartbeatBody, 'json'],
      body: HeartbeatRequest,
      response: { 200: HeartbeatAnswer },
      detail: { description: '`x-edge-signature` is the base64url Ed25519 signature of the exact body.' },
    })
    .get('', async ({ query }) => pageAnswer(await store.nodes.list(pageRequest(query))), {
      query: PageQuery,
      response: { 200: pageOf(EdgeNode) },
    })
    .get('/:id', ({ params }) => store.nodes.get(params.id), {
      params: NodeParams,
      response: { 200: EdgeNode },
    })
    .delete(
      '/:id',
      async ({ params, request }) => {
        await store.nodes.remove({ id: params.id, actor: contexts.actorOf(request) });
        parts.sync.forgetNode(params.id);
        return new Response(null, { status: 204 });
      },
      { params: NodeParams },
    );
}

async function addJoinToken(
  parts: ApiParts,
  body: JoinTokenRequest,
  actor: string,
): Promise<JoinTokenAnswer> {
  const { store, clock, auth } = parts;
  const { token: join_token, hash } = auth.newToken('edge_join');
  const expires_at_ms = clock.nowMs() + (body.ttl_ms ?? CONTROL_DEFAULTS.joinTokenTtlMs);
  const { node_id = null, pop_id = null } = body;
  await store.nodes.addJoinToken({ hash, node_id, pop_id, expires_at_ms, actor });
  return { join_token, expires_at: new Date(expires_at_ms).toISOString() };
}

/**
 * A node that is known may join again, and its old token dies: with a token that was made for its id at any
 * time, with any other token only once it is offline. So a join token alone does not take over a running
 * node.
 */
async function join(parts: ApiParts, body: JoinRequest, request: Request): Promise<JoinAnswer> {
  const { store, auth } = parts;
  const joinToken = bearerOf(request);
  if (joinToken === null) throw new CodedError('join_token_invalid');
  const { token: node_token, hash: token_hash } = auth.newToken('edge_node');
  const node = await store.nodes.join({ ...body, join_token_hash: tokenHash(joinToken), token_hash });
  return { node_id: node.id, node_token, control_public_key: auth.signingKey.publicKey };
}

/** Signed over exactly the bytes that are sent. */
async function heartbeat(
  parts: ApiParts,
  id: string,
  body: HeartbeatRequest,
  request: Request,
): Promise<Response> {
  const { sync, auth, contexts } = parts;
  const { caller } = contexts.of(request);
  if (caller?.kind !== 'node' || caller.nodeId !== id) throw new CodedError('forbidden');
  const answer: HeartbeatAnswer = await sync.heartbeats.beat(id, body, request.signal);
  const bytes = new TextEncoder().encode(JSON.stringify(answer));
  return new Response(bytes, {
    headers: { 'content-type': 'application/json', 'x-edge-signature': auth.signingKey.sign(bytes) },
  });
}
