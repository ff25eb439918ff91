// Deployments over HTTP: deploy, undeploy, roll back, and how far the nodes are.
import { Type } from '@sinclair/typebox';
import { type AnyElysia, type ElysiaCustomStatusResponse, status } from 'elysia';
import { CodedError } from '../../base/errors.ts';
import { CONTROL_BOUNDS } from '../../base/limits/control.ts';
import { DryRunAnswer, pageOf } from '../../model/api.ts';
import { Deployment, DeploymentProgress, DeployRequest, RollbackRequest } from '../../model/deployment.ts';
import type { NewDeployment } from '../../store/deployments.ts';
import type { Operations, Store } from '../../store/store.ts';
import { jsonBody } from '../http/bodies.ts';
import type { Mutations } from '../http/mutations.ts';
import type { RequestContexts } from '../http/request_context.ts';
import type { Sync } from '../sync/sync.ts';
import { requireSelector } from './request_rules.ts';
import {
  createResource,
  FunctionParams,
  numberedPageRequest,
  pageAnswer,
  PageQuery,
  WaitQuery,
} from './resource.ts';

const DeploymentParams = Type.Object({ id: Type.String() });

type DeploymentsOptions = {
  functions: Pick<Store['functions'], 'get'>;
  deployments: Store['deployments'];
  progress: Sync['progress'];
  contexts: RequestContexts;
  mutations: Mutations;
  newId: (prefix: string) => string;
};

export function deploymentsApi(options: DeploymentsOptions): AnyElysia {
  const { functions, deployments, progress, contexts, mutations, newId } = options;
  return createResource('/api/v1')
    .post(
      '/functions/:id/deploy',
      async ({ params, body, request, status }) => {
        const { pop_selector } = await functions.get(params.id);
        const target = targetOf(body, pop_selector);
        const ids = { id: newId('dep'), function_id: params.id };
        const input = { ...ids, ...target, version: body.version, actor: contexts.actorOf(request) };
        if (body.dry_run !== true) {
          return begin(options, request, (store) => store.deployments.deploy(input));
        }
        return status(200, dryRunAnswer(await progress.of(await deployments.plan(input))));
      },
      {
        params: FunctionParams,
        parse: [jsonBody, 'json'],
        body: DeployRequest,
        response: { 200: DryRunAnswer, 201: DeploymentProgress },
      },
    )
    .post(
      '/functions/:id/undeploy',
      ({ params, request, status }) => {
        const input = { function_id: params.id, actor: contexts.actorOf(request) };
        return mutations.run(request, async (store) => status(200, await store.deployments.undeploy(input)));
      },
      { params: FunctionParams, parse: 'none', response: { 200: Deployment } },
    )
    .post(
      '/functions/:id/rollback',
      ({ params, body, request }) => {
        const ids = { id: newId('dep'), function_id: params.id };
        const input = { ...ids, version: body.version, actor: contexts.actorOf(request) };
        return begin(options, request, (store) => store.deployments.rollBack(input));
      },
      {
        params: FunctionParams,
        parse: [jsonBody, 'json'],
        body: RollbackRequest,
        response: { 201: DeploymentProgress },
      },
    )
    .get(
      '/functions/:id/deployments',
      async ({ params, query }) => {
        const page = numberedPageRequest(query);
        return pageAnswer(await deployments.list({ ...page, function_id: params.id }));
      },
      { params: FunctionParams, query: PageQuery, response: { 200: pageOf(Deployment) } },
    )
    .get(
      '/deployments/:id',
      async ({ params, query, request }) => {
        if (query.wait_ms === undefined) return progress.of(await deployments.get(params.id));
        const ms = Math.min(Number(query.wait_ms), CONTROL_BOUNDS.deploymentWaitMsMax);
        return progress.wait(params.id, { ms, signal: request.signal });
      },
      { params: DeploymentParams, query: WaitQuery, response: { 200: DeploymentProgress } },
    );
}

/** Makes a deployment in one transaction with its first progress, which is the answer. */
function begin(
  { mutations, progress }: DeploymentsOptions,
  request: Request,
  make: (store: Operations) => Promise<Deployment>,
): Promise<ElysiaCustomStatusResponse<201, DeploymentProgress>> {
  return mutations.run(request, async (store) => {
    return status(201, await progress.begun(await make(store), store));
  });
}

/** With neither selector nor pops in the request: the function's own selector. Refuses `selector_invalid`. */
function targetOf(
  body: DeployRequest,
  functionSelector: string | null,
): Pick<NewDeployment, 'pop_selector' | 'target_pop'> {
  const { pop_selector, target_pop } = body;
  if (pop_selector !== undefined) requireSelector(pop_selector);
  if (pop_selector === undefined && target_pop === undefined)
    return { pop_selector: functionSelector, target_pop: null };
  return { pop_selector: pop_selector ?? null, target_pop: target_pop ?? null };
}

/** Refuses `no_matching_nodes`; a real deployment may be made before any node matches. */
function dryRunAnswer({ nodes }: DeploymentProgress): DryRunAnswer {
  if (nodes.length === 0) throw new CodedError('no_matching_nodes');
  return { nodes };
}
