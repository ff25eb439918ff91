// A deployment: which version of a function runs on which nodes, and how far each node is.
import { type Static, Type } from '@sinclair/typebox';
import { FUNCTION_BOUNDS } from '../base/limits/function.ts';
import { PopId, Semver } from './names.ts';

/** POST /api/v1/functions/:id/deploy. Without selector and pops: the function's selector, else every node. */
export const DeployRequest = Type.Object(
  {
    version: Type.Optional(Semver),
    pop_selector: Type.Optional(Type.String({ maxLength: FUNCTION_BOUNDS.selectorLengthMax })),
    target_pop: Type.Optional(Type.Array(PopId, { minItems: 1, maxItems: 1_000, uniqueItems: true })),
    dry_run: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);
export type DeployRequest = Static<typeof DeployRequest>;

/** POST /api/v1/functions/:id/rollback. Without a version: the one that was deployed before. */
export const RollbackRequest = Type.Object(
  { version: Type.Optional(Semver) },
  { additionalProperties: false },
);
export type RollbackRequest = Static<typeof RollbackRequest>;

const DeploymentStatus = Type.Union([
  Type.Literal('active'),
  Type.Literal('superseded'),
  Type.Literal('undeployed'),
]);

export const Deployment = Type.Object({
  id: Type.String(),
  function_id: Type.String(),
  version: Semver,
  previous_version: Type.Union([Semver, Type.Null()]),
  pop_selector: Type.Union([Type.String(), Type.Null()]),
  target_pop: Type.Union([Type.Array(Type.String()), Type.Null()]),
  status: DeploymentStatus,
  revision: Type.Integer(),
  created_at: Type.String(),
});
export type Deployment = Static<typeof Deployment>;

/** `pending`: the node has not reported this version yet. */
export const NodeProgress = Type.Object({
  node_id: Type.String(),
  pop_id: Type.String(),
  node_status: Type.String(),
  state: Type.Union([
    Type.Literal('pending'),
    Type.Literal('loading'),
    Type.Literal('cached'),
    Type.Literal('error'),
  ]),
  error: Type.Union([Type.String(), Type.Null()]),
  /** Why the node runs it in the interpreter; null where it runs compiled code, or nothing yet. */
  interpreted: Type.Union([Type.String(), Type.Null()]),
});
export type NodeProgress = Static<typeof NodeProgress>;

export const DeploymentProgress = Type.Object({
  deployment: Deployment,
  nodes: Type.Array(NodeProgress),
  /** Whether every matching node that is not offline has reported `cached`. */
  complete: Type.Boolean(),
});
export type DeploymentProgress = Static<typeof DeploymentProgress>;
