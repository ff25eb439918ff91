// Nodes over HTTP: join tokens, joining, heartbeats, find, list, delete.
import { Type } from '@sinclair/typebox';
import type { AnyElysia } from 'elysia';
import type { Clock } from '../../base/clock.ts';
import { CodedError } from '../../base/errors.ts';
import { CONTROL_DEFAULTS } from '../../base/limits/control.ts';
import { SYNC_BOUNDS } from '../../base/limits/sync.ts';
import { JoinTokenAnswer, JoinTokenRequest, NodePatch, pageOf } from '../../model/api.ts';
import { EdgeNode } from '../../model/node.ts';
import { HeartbeatAnswer, HeartbeatRequest, JoinAnswer, JoinRequest } from '../../model/protocol.ts';
import type { Store } from '../../store/store.ts';
import { type Auth, bearerOf, tokenHash } from '../auth/auth.ts';
import { jsonBody, jsonUpTo } from '../http/bodies.ts';
import type { RequestContexts } from '../http/request_context.ts';
import type { Sync } from '../sync/sync.ts';
import { requireLabelNames } from './request_rules.ts';
import { createResource, noContent, pageAnswer, PageQuery, pageRequest } from './resource.ts';

const NodeParams = Type.Object({ id: Type.String() });
const heartbeatBody = jsonUpTo(SYNC_BOUNDS.heartbeatBytesMax);

const PATCH_DETAIL = {
  tags: ['nodes'],
  summary: 'Set labels of a node',
  description:
    'Labels that are named change, those that are null are removed, others stay. Selectors read these labels ' +
    'and those of the join token; what a node says of itself (`reported_labels`) selects nothing.',
};

type NodesOptions = {
  nodes: Store['nodes'];
  auth: Pick<Auth, 'newToken' | 'signingKey'>;
  sync: Pick<Sync, 'heartbeats' | 'forgetNode'>;
  contexts: RequestContexts;
  clock: Clock;
};

export function nodesApi(options: NodesOptions): AnyElysia {
  const { nodes, auth, sync, contexts } = options;
  return createResource('/api/v1/nodes')
    .post(
      '/join-tokens',
      async ({ body, request, status }) => {
        return status(201, await addJoinToken(options, body, contexts.actorOf(request)));
      },
      { parse: [jsonBody, 'json'], body: JoinTokenRequest, response: { 201: JoinTokenAnswer } },
    )
    .post('/join', async ({ body, request, status }) => status(201, await join(options, body, request)), {
      parse: [jsonBody, 'json'],
      body: JoinRequest,
      response: { 201: JoinAnswer },
    })
    .post(
      '/:id/heartbeat',
      async ({ params, body, request }) => {
        const { caller } = contexts.of(request);
        if (caller?.kind !== 'node' || caller.nodeId !== params.id) throw new CodedError('forbidden');
        return signed(await sync.heartbeats.beat(params.id, body, request.signal), auth.signingKey);
      },
      {
        params: NodeParams,
        parse: [heartbeatBody, 'json'],
        body: HeartbeatRequest,
        response: { 200: HeartbeatAnswer },
        detail: {
          description:
            'The header `x-edge-signature` is the Ed25519 signature of the exact response body, base64url.',
        },
      },
    )
    .get('', async ({ query }) => pageAnswer(await nodes.list(pageRequest(query))), {
      query: PageQuery,
      response: { 200: pageOf(EdgeNode) },
    })
    .get('/:id', ({ params }) => nodes.get(params.id), {
      params: NodeParams,
      response: { 200: EdgeNode },
    })
    .patch(
      '/:id',
      ({ params, body, request }) => {
        requireLabelNames(body.labels);
        return nodes.label({ id: params.id, labels: body.labels, actor: contexts.actorOf(request) });
      },
      {
        params: NodeParams,
        parse: [jsonBody, 'json'],
        body: NodePatch,
        response: { 200: EdgeNode },
        detail: PATCH_DETAIL,
      },
    )
    .delete(
      '/:id',
      async ({ params, request }) => {
        await nodes.remove({ id: params.id, actor: contexts.actorOf(request) });
        sync.forgetNode(params.id);
        return noContent();
      },
      { params: NodeParams },
    );
}

async function addJoinToken(
  { nodes, auth, clock }: NodesOptions,
  body: JoinTokenRequest,
  actor: string,
): Promise<JoinTokenAnswer> {
  const { token: join_token, hash } = auth.newToken('edge_join');
  const expires_at_ms = clock.nowMs() + (body.ttl_ms ?? CONTROL_DEFAULTS.joinTokenTtlMs);
  const { node_id = null, pop_id = null, labels = {} } = body;
  requireLabelNames(labels);
  await nodes.addJoinToken({ hash, node_id, pop_id, labels, expires_at_ms, actor });
  return { join_token, expires_at: new Date(expires_at_ms).toISOString() };
}

/**
 * A known node joins again, and its old token ends: at any time with a join token made for its id, with any
 * other join token only once it is offline. So nobody takes over a running node with a join token alone.
 */
async function join({ nodes, auth }: NodesOptions, body: JoinRequest, request: Request): Promise<JoinAnswer> {
  const joinToken = bearerOf(request);
  if (joinToken === null) throw new CodedError('join_token_invalid');
  const { token: node_token, hash: token_hash } = auth.newToken('edge_node');
  const node = await nodes.join({ ...body, join_token_hash: tokenHash(joinToken), token_hash });
  return { node_id: node.id, node_token, control_public_key: auth.signingKey.publicKey };
}

/** Signs exactly the bytes that are sent. */
function signed(answer: HeartbeatAnswer, key: Auth['signingKey']): Response {
  const bytes = new TextEncoder().encode(JSON.stringify(answer));
  return new Response(bytes, {
    headers: { 'content-type': 'application/json', 'x-edge-signature': key.sign(bytes) },
  });
}
