// Deploy, undeploy, roll back, and how far the nodes are.
import { type Static, Type } from '@sinclair/typebox';
import type { AnyElysia } from 'elysia';
import { CodedError } from '../../base/errors.ts';
import { CONTROL_BOUNDS } from '../../base/limits/control.ts';
import { DryRunAnswer, pageOf } from '../../model/api.ts';
import { Deployment, DeploymentProgress, DeployRequest, RollbackRequest } from '../../model/deployment.ts';
import type { NewDeployment } from '../../store/deployments.ts';
import { jsonBody } from '../http/bodies.ts';
import { requireSelector } from './functions.ts';
import {
  type ApiParts,
  createResource,
  FunctionParams,
  pageAnswer,
  PageQuery,
  numberedPageRequest,
  WaitQuery,
} from './resource.ts';

export function deploymentsApi(parts: ApiParts): AnyElysia {
  const { store, contexts, newId } = parts;
  const { progress } = parts.sync;
  return createResource('/api/v1')
    .post(
      '/functions/:id/deploy',
      async ({ params, body, request, status }) => {
        const input = await deploymentOf(parts, params.id, body, contexts.actorOf(request));
        if (body.dry_run === true) return status(200, await dryRun(parts, input));
        return status(201, await progress.of(await store.deployments.deploy(input)));
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
      ({ params, request }) =>
        store.deployments.undeploy({ function_id: params.id, actor: contexts.actorOf(request) }),
      { params: FunctionParams, parse: 'none', response: { 200: Deployment } },
    )
    .post(
      '/functions/:id/rollback',
      async ({ params, body, request, status }) => {
        const input = {
          id: newId('dep'),
          function_id: params.id,
          version: body.version,
          actor: contexts.actorOf(request),
        };
        return status(201, await progress.of(await store.deployments.rollBack(input)));
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
        return pageAnswer(
          await store.deployments.list({ ...numberedPageRequest(query), function_id: params.id }),
        );
      },
      { params: FunctionParams, query: PageQuery, response: { 200: pageOf(Deployment) } },
    )
    .get(
      '/deployments/:id',
      async ({ params, query, request }) => {
        if (query.wait_ms === undefined) return progress.of(await store.deployments.get(params.id));
        const ms = Math.min(Number(query.wait_ms), CONTROL_BOUNDS.deploymentWaitMsMax);
        return progress.wait(params.id, { ms, signal: request.signal });
      },
      { params: Type.Object({ id: Type.String() }), query: WaitQuery, response: { 200: DeploymentProgress } },
    );
}

/** Neither selector nor pops in the request: the function's own selector, else every node. */
async function deploymentOf(
  parts: ApiParts,
  function_id: string,
  body: Static<typeof DeployRequest>,
  actor: string,
): Promise<NewDeployment> {
  const { store, newId } = parts;
  const owner = await store.functions.get(function_id);
  if (body.pop_selector !== undefined) requireSelector(body.pop_selector);
  const isPlain = body.pop_selector === undefined && body.target_pop === undefined;
  return {
    id: newId('dep'),
    function_id,
    version: body.version,
    pop_selector: isPlain ? owner.pop_selector : (body.pop_selector ?? null),
    target_pop: body.target_pop ?? null,
    actor,
  };
}

/**
 * A deployment is a rule, so deploying before any node matches is fine. A dry run asks which nodes match now;
 * that none does is its only bad answer, `no_matching_nodes`.
 */
async function dryRun(parts: ApiParts, input: NewDeployment): Promise<DryRunAnswer> {
  const { nodes } = await parts.sync.progress.of(await parts.store.deployments.plan(input));
  if (nodes.length === 0) throw new CodedError('no_matching_nodes');
  return { nodes };
}
