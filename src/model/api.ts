// What the control plane's API answers, and the small requests that have no file of their own.
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

/**
 * A page of a list: `next_cursor` is opaque, null on the last page, and goes into `?cursor=` for the next
 * one.
 */
export function pageOf<Item extends TSchema>(
  item: Item,
): TObject<{ items: TArray<Item>; next_cursor: TUnion<[TString, TNull]> }> {
  return Type.Object({ items: Type.Array(item), next_cursor: Type.Union([Type.String(), Type.Null()]) });
}

/** 201 of POST /functions. `upload_url` takes one PUT of the artifact's bytes. */
export const FunctionCreated = Type.Object({
  function: EdgeFunction,
  version: Version,
  ...Upload.properties,
});
export type FunctionCreated = Static<typeof FunctionCreated>;

/** 201 of POST /functions/:id/versions. */
export const VersionCreated = Type.Object({ version: Version, ...Upload.properties });
export type VersionCreated = Static<typeof VersionCreated>;

/** 200 of a deploy with `dry_run`: the nodes that would take it, in order of their id. */
export const DryRunAnswer = Type.Object({ nodes: Type.Array(NodeProgress) });
export type DryRunAnswer = Static<typeof DryRunAnswer>;

/** POST /nodes/join-tokens. A token with `node_id` or `pop_id` admits only that node or pop. */
export const JoinTokenRequest = Type.Object(
  {
    ttl_ms: Type.Optional(Type.Integer({ minimum: 1_000, maximum: CONTROL_BOUNDS.joinTokenTtlMsMax })),
    node_id: Type.Optional(NodeId),
    pop_id: Type.Optional(PopId),
  },
  { additionalProperties: false },
);
export type JoinTokenRequest = Static<typeof JoinTokenRequest>;

/** 201 of POST /nodes/join-tokens: shown once, kept only as a digest. */
export const JoinTokenAnswer = Type.Object({ join_token: Type.String(), expires_at: Type.String() });
export type JoinTokenAnswer = Static<typeof JoinTokenAnswer>;

/**
 * One mutation. `hash` covers the row and the hash of the row before it, so that a change of history shows.
 */
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
