// A deployment: which version of a function runs on which nodes, how far each node is, and what would change.
import { type Static, Type } from '@sinclair/typebox';
import { FUNCTION_BOUNDS } from '../base/limits/function.ts';
import { Id, PopId, Semver } from './names.ts';

const SemverOrNull = Type.Union([Semver, Type.Null()]);
const TextOrNull = Type.Union([Type.String(), Type.Null()]);

const requestTarget = {
  pop_selector: Type.Optional(
    Type.String({
      maxLength: FUNCTION_BOUNDS.selectorLengthMax,
      description:
        'The nodes, as an expression over their labels, `node_id` and `pop_id`; `and`, `or` and `not` may be ' +
        'words. Each name must be a label of some node and fit its type. `true` is every node.',
      examples: ["region == 'tokyo' and not spare"],
    }),
  ),
  target_pop: Type.Optional(
    Type.Array(PopId, {
      minItems: 1,
      maxItems: FUNCTION_BOUNDS.targetPopsMax,
      uniqueItems: true,
      description: 'The pops. With a selector, both must hold.',
      examples: [['nrt', 'fra']],
    }),
  ),
  allow_empty: Type.Optional(
    Type.Boolean({ description: 'Take a target that no node matches, for nodes that join later.' }),
  ),
};

/** POST /api/v1/functions/:id/deploy */
export const DeployRequest = Type.Object(
  {
    version: Type.Optional(Semver),
    ...requestTarget,
    strategy: Type.Optional(Type.Literal('pull')),
    from: Type.Optional(Semver),
    dry_run: Type.Optional(Type.Boolean({ description: 'Answer with the plan and change nothing.' })),
  },
  { additionalProperties: false },
);
export type DeployRequest = Static<typeof DeployRequest>;

/**
 * POST /api/v1/deployments/plan. Without `function_id`: of a function that does not exist yet. Without
 * `version`: of the version that is made next.
 */
export const PlanRequest = Type.Object(
  { function_id: Type.Optional(Id), version: Type.Optional(Semver), ...requestTarget },
  { additionalProperties: false },
);
export type PlanRequest = Static<typeof PlanRequest>;

/** POST /api/v1/functions/:id/rollback */
export const RollbackRequest = Type.Object(
  {
    version: Type.Optional(Semver),
    from: Type.Optional(Semver),
    pop_selector: requestTarget.pop_selector,
    target_pop: requestTarget.target_pop,
  },
  { additionalProperties: false },
);
export type RollbackRequest = Static<typeof RollbackRequest>;

/** `superseded`: a later one replaced it. `ended`: it alone was ended. `undeployed`: the function was. */
const DeploymentStatus = Type.Union([
  Type.Literal('active'),
  Type.Literal('superseded'),
  Type.Literal('ended'),
  Type.Literal('undeployed'),
]);

export const Deployment = Type.Object({
  id: Type.String(),
  function_id: Type.String(),
  version: Semver,
  /** What a rollback of this deployment deploys. */
  previous_version: SemverOrNull,
  /** The version that a rollback left with this deployment; null for any other. */
  from: SemverOrNull,
  pop_selector: TextOrNull,
  target_pop: Type.Union([Type.Array(Type.String()), Type.Null()]),
  status: DeploymentStatus,
  revision: Type.Integer(),
  created_at: Type.String(),
});
export type Deployment = Static<typeof Deployment>;

/**
 * `pending`: the node has not reported this version yet. `error`: it failed and is tried again. `failed`: it
 * fails in the same way each time and is not tried again.
 */
const NodeState = Type.Union([
  Type.Literal('pending'),
  Type.Literal('loading'),
  Type.Literal('cached'),
  Type.Literal('error'),
  Type.Literal('failed'),
]);

export const NodeProgress = Type.Object({
  node_id: Type.String(),
  pop_id: Type.String(),
  node_status: Type.String(),
  state: NodeState,
  error: TextOrNull,
  /** Why the node runs it in the interpreter; null where it runs compiled code, or nothing yet. */
  interpreted: TextOrNull,
});
export type NodeProgress = Static<typeof NodeProgress>;

/**
 * `done`: at least one node is not offline, and all such nodes have the version. `failed`: one of them reports
 * an error. `waiting`: neither. `over`: the deployment is not active.
 */
export const DeploymentState = Type.Union([
  Type.Literal('done'),
  Type.Literal('waiting'),
  Type.Literal('failed'),
  Type.Literal('over'),
]);
export type DeploymentState = Static<typeof DeploymentState>;

const progress = {
  state: DeploymentState,
  /** Of a node that failed: `NODE: what it reports`; null unless `state` is `failed`. */
  reason: TextOrNull,
  /** The nodes on which it decides: no newer deployment matches them. */
  nodes: Type.Array(NodeProgress),
  /** Whether `state` is `done`. */
  complete: Type.Boolean(),
};

export const DeploymentProgress = Type.Object({
  deployment: Deployment,
  ...progress,
  /** How many nodes its target matches, those included on which a newer deployment decides. */
  matched_nodes: Type.Integer(),
});
export type DeploymentProgress = Static<typeof DeploymentProgress>;

/**
 * The answer to a deploy or a rollback: the deployments that it made, the first of them again as `deployment`,
 * and the nodes of all. `changed` is false where there was nothing left to do.
 */
export const DeployAnswer = Type.Object({
  deployment: Deployment,
  deployments: Type.Array(Deployment),
  changed: Type.Boolean(),
  ...progress,
});
export type DeployAnswer = Static<typeof DeployAnswer>;

/** The deployments that an undeploy has ended, newest first. */
export const UndeployAnswer = Type.Object({ deployments: Type.Array(Deployment) });
export type UndeployAnswer = Static<typeof UndeployAnswer>;

/** What a deploy would change. `before` and `after` are null where the node does not run the function. */
export const DeployPlan = Type.Object({
  version: Semver,
  /** The targets that would get the version. */
  targets: Type.Array(Type.Pick(Deployment, ['pop_selector', 'target_pop', 'previous_version'])),
  /** The active deployments that would end. */
  ends: Type.Array(Deployment),
  /** The nodes that run the function before or after, ordered by id. */
  nodes: Type.Array(
    Type.Object({
      node_id: Type.String(),
      pop_id: Type.String(),
      before: SemverOrNull,
      after: SemverOrNull,
    }),
  ),
  /** Each version before or after, with the ids of the nodes that it is added to, removed from, kept on. */
  versions: Type.Array(
    Type.Object({
      version: Semver,
      added: Type.Array(Type.String()),
      removed: Type.Array(Type.String()),
      unchanged: Type.Array(Type.String()),
    }),
  ),
});
export type DeployPlan = Static<typeof DeployPlan>;
