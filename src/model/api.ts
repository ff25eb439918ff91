// Answers of the control plane's API, and the request for a join token.
import {
  type Static,
  type TArray,
  type TNull,
  type TObject,
  type TSchema,
  type TString,
  type TUnion,
  Type,
} from '@sinclair/typebox';
import { CONTROL_BOUNDS } from '../base/limits/control.ts';
import { NodeProgress } from './deployment.ts';
import { EdgeFunction, Upload, Version } from './function.ts';
import { NodeId, PopId } from './names.ts';

/** One page of a list. `next_cursor` is opaque: `?cursor=` takes it for the next page; null on the last. */
export function pageOf<Item extends TSchema>(
  item: Item,
): TObject<{ items: TArray<Item>; next_cursor: TUnion<[TString, TNull]> }> {
  return Type.Object({ items: Type.Array(item), next_cursor: Type.Union([Type.String(), Type.Null()]) });
}

/** 201 of POST /functions. A PUT to `upload_url` sends the bytes of the artifact, once. */
export const FunctionCreated = Type.Object({
  function: EdgeFunction,
  version: Version,
  ...Upload.properties,
});
export type FunctionCreated = Static<typeof FunctionCreated>;

/** 201 of POST /functions/:id/versions. */
export const VersionCreated = Type.Object({ version: Version, ...Upload.properties });
export type VersionCreated = Static<typeof VersionCreated>;

/** 200 of a deploy with `dry_run`: the nodes that would run the version, ordered by id. */
export const DryRunAnswer = Type.Object({ nodes: Type.Array(NodeProgress) });
export type DryRunAnswer = Static<typeof DryRunAnswer>;

/** POST /nodes/join-tokens. A token made with `node_id` or `pop_id` admits only that node or pop. */
export const JoinTokenRequest = Type.Object(
  {
    ttl_ms: Type.Optional(Type.Integer({ minimum: 1_000, maximum: CONTROL_BOUNDS.joinTokenTtlMsMax })),
    node_id: Type.Optional(NodeId),
    pop_id: Type.Optional(PopId),
  },
  { additionalProperties: false },
);
export type JoinTokenRequest = Static<typeof JoinTokenRequest>;

/** 201 of POST /nodes/join-tokens. The token is shown once; the control plane keeps only its digest. */
export const JoinTokenAnswer = Type.Object({ join_token: Type.String(), expires_at: Type.String() });
export type JoinTokenAnswer = Static<typeof JoinTokenAnswer>;

/** One mutation. `hash` covers the row and the hash of the row before it: a changed row breaks the chain. */
export const AuditEntry = Type.Object({
  id: Type.Integer(),
  at: Type.String(),
  revision: Type.Integer(),
  actor: Type.String(),
  action: Type.String(),
  target: Type.String(),
  detail: Type.Record(Type.String(), Type.Unknown()),
  hash: Type.String(),
});
export type AuditEntry = Static<typeof AuditEntry>;

/** GET /version */
export const ProductVersion = Type.Object({ version: Type.String() });
