// The protocol between control plane and edge: join, heartbeat, desired state, observed state.
import { type Static, Type } from '@sinclair/typebox';
import { FUNCTION_BOUNDS } from '../base/limits/function.ts';
import { SYNC_BOUNDS } from '../base/limits/sync.ts';
import { EpochId, Position, Rebase, Refusal } from './epoch.ts';
import { VersionSettings } from './function.ts';
import { Labels, Name, NodeId, PopId, Semver, Sha256 } from './names.ts';
import { NodeInstance } from './node.ts';
import { RouteRule } from './route.ts';
import { WallReport } from './wall.ts';

/**
 * POST /api/v1/nodes/join, with `authorization: Bearer <join token>`. `public_key` is the node's own (raw
 * Ed25519, base64url), `proof` its signature of `joinProofText`. The same key may join again with the same
 * token until the node has sent its first heartbeat: an answer that was lost costs nothing.
 */
export const JoinRequest = Type.Object(
  {
    node_id: NodeId,
    pop_id: PopId,
    labels: Labels,
    edge_version: Type.String({ maxLength: 64 }),
    public_key: Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' }),
    proof: Type.String({ pattern: '^[A-Za-z0-9_-]{86}$' }),
  },
  { additionalProperties: false },
);
export type JoinRequest = Static<typeof JoinRequest>;

/** What a node signs to prove that it holds the key with which it joins. */
export function joinProofText(
  joinToken: string,
  request: Pick<JoinRequest, 'node_id' | 'public_key'>,
): string {
  return ['edge join', joinToken, request.node_id, request.public_key].join('\n');
}

/** The node sends `node_token` with every request; `control_public_key` is raw Ed25519 in base64url. */
export const JoinAnswer = Type.Object({
  node_id: NodeId,
  node_token: Type.String({ maxLength: 256 }),
  control_public_key: Type.String({ maxLength: 64 }),
});
export type JoinAnswer = Static<typeof JoinAnswer>;

/** What a node reports about one version of one function. */
export const ObservedFunction = Type.Object(
  {
    id: Type.String({ maxLength: 64 }),
    version: Semver,
    /** `error` is tried again; `failed` is not: it fails in the same way each time. */
    state: Type.Union([
      Type.Literal('loading'),
      Type.Literal('cached'),
      Type.Literal('error'),
      Type.Literal('failed'),
    ]),
    /** A code of the error table and a sentence; with `cached`, a sentence where it is not stored on disk. */
    error: Type.Union([Type.String({ maxLength: 1_000 }), Type.Null()]),
    /** `aot`: compiled code. `interpreter`: the compiler gave up on this artifact. */
    execution: Type.Union([Type.Literal('aot'), Type.Literal('interpreter'), Type.Null()]),
    /** Why it runs in the interpreter; a sentence. */
    interpreted: Type.Optional(Type.Union([Type.String({ maxLength: 1_000 }), Type.Null()])),
    invocation_count: Type.Integer({ minimum: 0 }),
    error_count: Type.Integer({ minimum: 0 }),
    avg_latency_ms: Type.Number({ minimum: 0 }),
    p99_ms: Type.Number({ minimum: 0 }),
  },
  { additionalProperties: false },
);
export type ObservedFunction = Static<typeof ObservedFunction>;

/**
 * POST /api/v1/nodes/:id/heartbeat, with `authorization: Bearer <node token>`. The answer is held until the
 * digest of the node's desired state differs from `applied_digest`, or until `hold_ms` has passed.
 */
export const HeartbeatRequest = Type.Object(
  {
    status: Type.Union([Type.Literal('online'), Type.Literal('degraded'), Type.Literal('offline')]),
    edge_version: Type.String({ maxLength: 64 }),
    cpu_percent: Type.Number({ minimum: 0 }),
    mem_bytes: Type.Integer({ minimum: 0 }),
    /** The wall around guests; absent until the node has tried it. */
    wall: Type.Optional(WallReport),
    labels: Labels,
    functions: Type.Array(ObservedFunction, { maxItems: SYNC_BOUNDS.functionsMax }),
    applied_revision: Type.Integer({ minimum: 0 }),
    /** `desiredDigest` of the desired state that the node accepted last; null before the first. */
    applied_digest: Type.Union([Sha256, Type.Null()]),
    /** The epoch of `applied_revision`; null before the first. A node of an older release does not say. */
    applied_epoch: Type.Optional(Position.properties.epoch),
    /** While the node refuses what it is sent, and keeps what it has. */
    refusal: Type.Optional(Refusal),
    /** The process that reports: another at each start. */
    instance: Type.Optional(NodeInstance),
    hold_ms: Type.Integer({ minimum: 0, maximum: SYNC_BOUNDS.heartbeatHoldMs }),
  },
  { additionalProperties: false },
);
export type HeartbeatRequest = Static<typeof HeartbeatRequest>;

/** One function that an edge should run. `artifact_url` is absolute, or a path on the control plane. */
export const DesiredFunction = Type.Object(
  {
    function_id: Type.String({ pattern: '^[a-z]{1,8}_[0-9a-z]{26}$' }),
    project_id: Name,
    name: Name,
    version: Semver,
    artifact_url: Type.String({ maxLength: 2_048 }),
    sha256: Sha256,
    size_bytes: Type.Integer({ minimum: 8, maximum: FUNCTION_BOUNDS.artifactBytesMax }),
    settings: VersionSettings,
    routes: Type.Array(RouteRule, { maxItems: FUNCTION_BOUNDS.routesPerFunctionMax }),
  },
  { additionalProperties: false },
);
export type DesiredFunction = Static<typeof DesiredFunction>;

/** Every function that one node should run, ordered by `function_id`. */
export const DesiredState = Type.Object(
  { functions: Type.Array(DesiredFunction, { maxItems: SYNC_BOUNDS.functionsMax }) },
  { additionalProperties: false },
);
export type DesiredState = Static<typeof DesiredState>;

/**
 * The answer to a heartbeat. `revision` is that of the last change of this node's desired state and only rises
 * within its `epoch`: an edge refuses an answer below its own, and one of another epoch, unless `succeeds` or
 * `rebase` takes it there. `desired` is null if the node has that state already, in that epoch. The header
 * `x-edge-signature` holds the Ed25519 signature of the exact bytes of the body, in base64url.
 */
export const HeartbeatAnswer = Type.Object(
  {
    node_id: NodeId,
    /** Left out for a node that does not say its own. */
    epoch: Type.Optional(EpochId),
    revision: Type.Integer({ minimum: 0 }),
    /** The epoch continues this one: nodes that have at most this revision of it lose nothing. */
    succeeds: Type.Optional(Position),
    /** An operator takes the node here from what it has. */
    rebase: Type.Optional(Rebase),
    digest: Sha256,
    desired: Type.Union([DesiredState, Type.Null()]),
    next_heartbeat_ms: Type.Integer({ minimum: 0, maximum: 3_600_000 }),
  },
  { additionalProperties: false },
);
export type HeartbeatAnswer = Static<typeof HeartbeatAnswer>;

/** JSON with sorted keys and without white space, so that both sides digest the same bytes. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value).filter(([, held]) => held !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, held]) => `${JSON.stringify(key)}:${canonicalJson(held)}`).join(',')}}`;
}
