// What changes deployments over HTTP: deploy, plan, roll back, undeploy.
import { Type } from '@sinclair/typebox';
import { type AnyElysia, type ElysiaCustomStatusResponse, status } from 'elysia';
import {
  DeployAnswer,
  DeployPlan,
  DeployRequest,
  PlanRequest,
  RollbackRequest,
  UndeployAnswer,
} from '../../model/deployment.ts';
import { versionChanges } from '../../model/rules/deploy.ts';
import { summaryOf } from '../../model/rules/progress.ts';
import { requestedTarget } from '../../model/target/target.ts';
import type { Deployed, Planned, Wanted } from '../../store/deployments/deployments.ts';
import type { Operations, Store } from '../../store/store.ts';
import { jsonBody } from '../http/bodies.ts';
import type { Mutations } from '../http/mutations.ts';
import type { RequestContexts } from '../http/request_context.ts';
import type { Sync } from '../sync/sync.ts';
import { createResource, FunctionParams } from './resource.ts';

const tags = ['deployments'];

const DESCRIPTIONS = {
  deploy: {
    tags,
    summary: 'Deploy a version to a target',
    description:
      'On each node the newest active deployment whose target matches decides which version runs. This one ' +
      'replaces the deployment of the same target; one for every node ends all others; nothing else changes. ' +
      'Without a target every target that the function has moves to the version, and a function that is not ' +
      'deployed goes to its own selector or to every node. Without `version`: the highest published one that ' +
      'is no pre-release. With `from` only targets that run this version move, and 200 says that none was ' +
      'left. A target that no node matches is refused unless `allow_empty`. With `dry_run` the answer is the ' +
      'plan (200).',
  },
  plan: {
    tags,
    summary: 'Show what a deploy would change',
    description:
      'Lists the nodes that each version would be added to, removed from and kept on. Changes nothing. ' +
      'Without `function_id` it is the first deploy of a new function, without `version` that of the version ' +
      'that is made next; refused as the deploy would be.',
  },
  rollback: {
    tags,
    summary: 'Go back to the version before',
    description:
      'Each target that runs `from` goes back to the version before it on that target, or to `version`. ' +
      'Without `from` the version of the newest deployment is left. With a target only its nodes move, from what ' +
      'they run, with a deployment of their own where the target has none. 200 without a change where it has been ' +
      'left already, so that a repeated rollback does nothing.',
  },
};

type DeploysOptions = {
  deployments: Store['deployments'];
  progress: Sync['progress'];
  contexts: RequestContexts;
  mutations: Mutations;
  newId: (prefix: string) => string;
};

export function deploysApi(options: DeploysOptions): AnyElysia {
  const { deployments, contexts, mutations, newId } = options;
  const newDeploymentId = (): string => newId('dep');
  return createResource('/api/v1')
    .post(
      '/functions/:id/deploy',
      async ({ params, body, request }) => {
        const input = {
          function_id: params.id,
          version: body.version,
          ...wanted(body),
          newId: newDeploymentId,
        };
        if (body.dry_run === true) return status(200, planAnswer(await deployments.planDeploy(input)));
        const made = { ...input, actor: contexts.actorOf(request) };
        return await begin(options, request, (store) => store.deployments.deploy(made));
      },
      {
        params: FunctionParams,
        parse: [jsonBody, 'json'],
        body: DeployRequest,
        response: { 200: Type.Union([DeployPlan, DeployAnswer]), 201: DeployAnswer },
        detail: DESCRIPTIONS.deploy,
      },
    )
    .post(
      '/deployments/plan',
      async ({ body }) => {
        const { function_id = null, version = null } = body;
        return planAnswer(await deployments.plan({ function_id, version, ...wanted(body) }));
      },
      {
        parse: [jsonBody, 'json'],
        body: PlanRequest,
        response: { 200: DeployPlan },
        detail: DESCRIPTIONS.plan,
      },
    )
    .post(
      '/functions/:id/undeploy',
      ({ params, request }) => {
        const input = { function_id: params.id, actor: contexts.actorOf(request) };
        return mutations.run(request, async (store) => {
          return status(200, { deployments: await store.deployments.undeploy(input) });
        });
      },
      {
        params: FunctionParams,
        parse: 'none',
        response: { 200: UndeployAnswer },
        detail: { tags, summary: 'End every deployment of a function: no node runs it any more' },
      },
    )
    .post(
      '/functions/:id/rollback',
      ({ params, body, request }) => {
        const { version, from } = body;
        const ids = { function_id: params.id, newId: newDeploymentId, actor: contexts.actorOf(request) };
        const input = { ...ids, version, from, target: requestedTarget(body) };
        return begin(options, request, (store) => store.deployments.rollBack(input));
      },
      {
        params: FunctionParams,
        parse: [jsonBody, 'json'],
        body: RollbackRequest,
        response: { 200: DeployAnswer, 201: DeployAnswer },
        detail: DESCRIPTIONS.rollback,
      },
    );
}

function wanted(body: {
  pop_selector?: string;
  target_pop?: string[];
  allow_empty?: boolean;
  from?: string;
}): Wanted {
  const { allow_empty = false, from = null } = body;
  return { target: requestedTarget(body), from, allow_empty };
}

function planAnswer(planned: Planned): DeployPlan {
  const targets = planned.targets.map(({ target_pop, ...target }) => {
    return { ...target, target_pop: target_pop === null ? null : [...target_pop] };
  });
  return { ...planned, targets, versions: versionChanges(planned.nodes) };
}

/** Moves deployments in one transaction with their first progress, which is the answer. */
function begin(
  { mutations, progress }: DeploysOptions,
  request: Request,
  move: (store: Operations) => Promise<Deployed>,
): Promise<ElysiaCustomStatusResponse<200 | 201, DeployAnswer>> {
  return mutations.run(request, async (store) => {
    const { deployments, changed } = await move(store);
    const [deployment] = deployments;
    if (deployment === undefined) throw new Error('a deploy without a deployment');
    const nodes = await progress.begun(deployments, store);
    return status(changed ? 201 : 200, { deployment, deployments, changed, nodes, ...summaryOf(nodes) });
  });
}
