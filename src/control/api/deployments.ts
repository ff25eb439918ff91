// Deployments over HTTP: deploy, undeploy, roll back, and how far the nodes are.
import { Type } from '@sinclair/typebox';
import type { AnyElysia } from 'elysia';
import { CodedError } from '../../base/errors.ts';
import { CONTROL_BOUNDS } from '../../base/limits/control.ts';
import { DryRunAnswer, pageOf } from '../../model/api.ts';
import { Deployment, DeploymentProgress, DeployRequest, RollbackRequest } from '../../model/deployment.ts';
import type { NewDeployment } from '../../store/deployments/deployments.ts';
import type { Store } from '../../store/store.ts';
import { jsonBody } from '../http/bodies.ts';
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

export function deploymentsApi(options: {
  functions: Pick<Store['functions'], 'get'>;
  deployments: Store['deployments'];
  progress: Sync['progress'];
  contexts: RequestContexts;
  newId: (prefix: string) => string;
}): AnyElysia {
  const { functions, deployments, progress, contexts, newId } = options;
  return createResource('/api/v1')
    .post(
      '/functions/:id/deploy',
      async ({ params, body, request, status }) => {
        const { pop_selector } = await functions.get(params.id);
        const target = targetOf(body, pop_selector);
        const ids = { id: newId('dep'), function_id: params.id };
        const input = { ...ids, ...target, version: body.version, actor: contexts.actorOf(request) };
        if (body.dry_run !== true) return status(201, await progress.of(await deployments.deploy(input)));
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
      ({ params, request }) => {
        return deployments.undeploy({ function_id: params.id, actor: contexts.actorOf(request) });
      },
      { params: FunctionParams, parse: 'none', response: { 200: Deployment } },
    )
    .post(
      '/functions/:id/rollback',
      async ({ params, body, request, status }) => {
        const ids = { id: newId('dep'), function_id: params.id };
        const input = { ...ids, version: body.version, actor: contexts.actorOf(request) };
        return status(201, await progress.of(await deployments.rollBack(input)));
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
