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
import { EdgeFunction, Upload, Version } from './function.ts';
import { LabelChanges, Labels, NodeId, PopId } from './names.ts';

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

/**
 * POST /nodes/join-tokens. A token made with `node_id` or `pop_id` admits only that node or pop. `labels` are
 * those of the node that joins with it.
 */
export const JoinTokenRequest = Type.Object(
  {
    ttl_ms: Type.Optional(Type.Integer({ minimum: 1_000, maximum: CONTROL_BOUNDS.joinTokenTtlMsMax })),
    node_id: Type.Optional(NodeId),
    pop_id: Type.Optional(PopId),
    labels: Type.Optional(Labels),
  },
  { additionalProperties: false },
);
export type JoinTokenRequest = Static<typeof JoinTokenRequest>;

/** 201 of POST /nodes/join-tokens. The token is shown once; the control plane keeps only its digest. */
export const JoinTokenAnswer = Type.Object({ join_token: Type.String(), expires_at: Type.String() });
export type JoinTokenAnswer = Static<typeof JoinTokenAnswer>;

/** PATCH /nodes/:id. Labels that are named change, those that are null are removed, others stay. */
export const NodePatch = Type.Object({ labels: LabelChanges }, { additionalProperties: false });
export type NodePatch = Static<typeof NodePatch>;

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
