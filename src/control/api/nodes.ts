// Nodes over HTTP: join tokens, joining, heartbeats, find, list, label, rebase, delete.
import { Type } from '@sinclair/typebox';
import { type AnyElysia, type ElysiaCustomStatusResponse, status } from 'elysia';
import { CodedError } from '../../base/errors.ts';
import { CONTROL_DEFAULTS } from '../../base/limits/control.ts';
import { SYNC_BOUNDS } from '../../base/limits/sync.ts';
import { endsWithRebase, REFUSALS } from '../../model/epoch.ts';
import { JoinTokenAnswer, JoinTokenRequest, NodePatch, pageOf } from '../../model/api.ts';
import { EdgeNode } from '../../model/node.ts';
import {
  HeartbeatAnswer,
  HeartbeatRequest,
  JoinAnswer,
  joinProofText,
  JoinRequest,
} from '../../model/protocol.ts';
import type { Store } from '../../store/store.ts';
import { type Auth, bearerOf, isSignedBy, tokenHash } from '../auth/auth.ts';
import { jsonBody, jsonUpTo } from '../http/bodies.ts';
import type { Mutations } from '../http/mutations.ts';
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

const REBASE_DETAIL = {
  tags: ['nodes'],
  summary: 'Let a node that has diverged take the state of this control plane',
  description:
    'For a node that is ahead of a control plane that was restored from a backup. The node gets a signed ' +
    'statement with its next heartbeat, takes the state of this control plane in place of what it has, and ' +
    'serves without a gap. Refused with `node_not_diverged` for a node that refuses nothing, was not heard ' +
    'since the start, or must join again. A repetition changes nothing.',
};

type NodesOptions = {
  nodes: Store['nodes'];
  auth: Pick<Auth, 'newToken' | 'signingKey'>;
  sync: Pick<Sync, 'heartbeats' | 'joined' | 'shown' | 'divergence' | 'forgetNode'>;
  contexts: RequestContexts;
  mutations: Mutations;
  newId: (prefix: string) => string;
};

export function nodesApi(options: NodesOptions): AnyElysia {
  const { nodes, sync, contexts, mutations } = options;
  return createResource('/api/v1/nodes')
    .post('/join-tokens', ({ body, request }) => addJoinToken(options, body, request), {
      parse: [jsonBody, 'json'],
      body: JoinTokenRequest,
      response: { 201: JoinTokenAnswer },
    })
    .post(
      '/join',
      async ({ body, request }) => {
        const reply = await mutations.run(request, async (store) =>
          status(201, await join(options, store, { body, request })),
        );
        sync.joined(body.node_id);
        return reply;
      },
      { parse: [jsonBody, 'json'], body: JoinRequest, response: { 201: JoinAnswer } },
    )
    .post('/:id/heartbeat', ({ params, body, request }) => beat(options, params.id, { body, request }), {
      params: NodeParams,
      parse: [heartbeatBody, 'json'],
      body: HeartbeatRequest,
      response: { 200: HeartbeatAnswer },
      detail: {
        description:
          'The header `x-edge-signature` is the Ed25519 signature of the exact response body, base64url.',
      },
    })
    .get(
      '',
      async ({ query }) => {
        const { items, next_key } = await nodes.list(pageRequest(query));
        return pageAnswer({ items: items.map((node) => sync.shown(node)), next_key });
      },
      { query: PageQuery, response: { 200: pageOf(EdgeNode) } },
    )
    .get('/:id', async ({ params }) => sync.shown(await nodes.get(params.id)), {
      params: NodeParams,
      response: { 200: EdgeNode },
    })
    .patch('/:id', ({ params, body, request }) => label(options, { ...params, ...body }, request), {
      params: NodeParams,
      parse: [jsonBody, 'json'],
      body: NodePatch,
      response: { 200: EdgeNode },
      detail: PATCH_DETAIL,
    })
    .post('/:id/rebase', ({ params, request }) => rebase(options, params.id, request), {
      params: NodeParams,
      response: { 200: EdgeNode },
      detail: REBASE_DETAIL,
    })
    .delete(
      '/:id',
      async ({ params, request }) => {
        const input = { id: params.id, actor: contexts.actorOf(request) };
        const reply = await mutations.run(request, async (store) => {
          await store.nodes.remove(input);
          return noContent();
        });
        sync.forgetNode(params.id);
        return reply;
      },
      { params: NodeParams },
    );
}

async function beat(
  { auth, sync, contexts }: NodesOptions,
  id: string,
  { body, request }: { body: HeartbeatRequest; request: Request },
): Promise<Response> {
  const { caller } = contexts.of(request);
  if (caller?.kind !== 'node' || caller.nodeId !== id) throw new CodedError('forbidden');
  return signed(await sync.heartbeats.beat(id, body, request.signal), auth.signingKey);
}

/** The body of the answer holds the token, of which the store keeps the digest only. */
function addJoinToken(
  { auth, contexts, mutations }: NodesOptions,
  body: JoinTokenRequest,
  request: Request,
): Promise<ElysiaCustomStatusResponse<201, JoinTokenAnswer>> {
  const { token: join_token, hash } = auth.newToken('edge_join');
  const { node_id = null, pop_id = null, labels = {}, ttl_ms = CONTROL_DEFAULTS.joinTokenTtlMs } = body;
  requireLabelNames(labels);
  const input = { hash, node_id, pop_id, labels, ttl_ms, actor: contexts.actorOf(request) };
  return mutations.run(request, async (store) => {
    return status(201, { join_token, expires_at: await store.nodes.addJoinToken(input) });
  });
}

function label(
  { sync, contexts, mutations }: NodesOptions,
  changes: NodePatch & { id: string },
  request: Request,
): Promise<ElysiaCustomStatusResponse<200, EdgeNode>> {
  requireLabelNames(changes.labels);
  const input = { ...changes, actor: contexts.actorOf(request) };
  return mutations.run(request, async (store) => status(200, sync.shown(await store.nodes.label(input))));
}

function rebase(
  { sync, contexts, mutations, newId }: NodesOptions,
  id: string,
  request: Request,
): Promise<ElysiaCustomStatusResponse<200, EdgeNode>> {
  const actor = contexts.actorOf(request);
  return mutations.run(request, async ({ nodes }) => {
    const node = await nodes.get(id);
    const diverged = sync.divergence(id);
    if (diverged === null) throw new CodedError('node_not_diverged');
    if (!endsWithRebase(diverged.reason)) {
      const next = diverged.reason === 'signature_invalid' ? joinAgain(id) : 'its log says what it was sent.';
      const message = `A rebase of ${id} does not help, as ${REFUSALS[diverged.reason]}: ${next}`;
      throw new CodedError('node_not_diverged', { message });
    }
    await nodes.rebase({ id, from: diverged.has, newEpoch: newId('ep'), actor });
    return status(200, sync.shown(node));
  });
}

const joinAgain = (id: string): string =>
  `start it again with --join-token "$(edge join-token --node ${id})".`;

/**
 * A known node joins again: at any time with its own key or with a join token made for its id, with any other
 * join token only once it is offline. So nobody takes over a running node with a join token alone.
 */
async function join(
  { auth }: NodesOptions,
  { nodes }: Pick<Store, 'nodes'>,
  { body: { proof, ...body }, request }: { body: JoinRequest; request: Request },
): Promise<JoinAnswer> {
  const joinToken = bearerOf(request);
  if (joinToken === null) throw new CodedError('join_token_invalid');
  if (!isSignedBy(body.public_key, joinProofText(joinToken, body), proof))
    throw new CodedError('join_token_invalid', {
      message: 'The join is not signed by the key that it names.',
    });
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
