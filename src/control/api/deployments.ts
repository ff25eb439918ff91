// Deployments over HTTP: the lists, one with its progress, and the end of one.
import { Type } from '@sinclair/typebox';
import type { AnyElysia } from 'elysia';
import { CONTROL_BOUNDS } from '../../base/limits/control.ts';
import { pageOf } from '../../model/api.ts';
import { Deployment, DeploymentProgress } from '../../model/deployment.ts';
import type { Store } from '../../store/store.ts';
import type { Mutations } from '../http/mutations.ts';
import type { RequestContexts } from '../http/request_context.ts';
import type { Sync } from '../sync/sync.ts';
import {
  createResource,
  FunctionParams,
  numberedPageRequest,
  pageAnswer,
  pageQuery,
  WaitQuery,
} from './resource.ts';

const DeploymentParams = Type.Object({ id: Type.String() });
const statusQuery = { ...pageQuery, status: Type.Optional(Type.Literal('active')) };
const OfFunctionQuery = Type.Object(statusQuery, { additionalProperties: false });
const ListQuery = Type.Object(
  { ...statusQuery, function_id: Type.Optional(Type.String({ maxLength: 64 })) },
  { additionalProperties: false },
);
const tags = ['deployments'];

const DESCRIPTIONS = {
  show: {
    tags,
    summary: 'Show a deployment and how far its nodes are',
    description: 'With `wait_ms` the answer is held until the progress changes or the deployment settles.',
  },
  end: {
    tags,
    summary: 'End one deployment',
    description:
      'Its nodes go back to the next deployment that matches them, or lose the function. One that is over ' +
      'already stays as it is.',
  },
};

export function deploymentsApi(options: {
  deployments: Pick<Store['deployments'], 'get' | 'list'>;
  progress: Sync['progress'];
  contexts: RequestContexts;
  mutations: Mutations;
}): AnyElysia {
  const { deployments, progress, contexts, mutations } = options;
  return createResource('/api/v1')
    .get(
      '/functions/:id/deployments',
      async ({ params, query }) => {
        const page = { ...numberedPageRequest(query), activeOnly: query.status === 'active' };
        return pageAnswer(await deployments.list({ ...page, function_id: params.id }));
      },
      {
        params: FunctionParams,
        query: OfFunctionQuery,
        response: { 200: pageOf(Deployment) },
        detail: { tags, summary: 'List the deployments of a function, newest first' },
      },
    )
    .get(
      '/deployments',
      async ({ query }) => {
        const page = { ...numberedPageRequest(query), activeOnly: query.status === 'active' };
        return pageAnswer(await deployments.list({ ...page, function_id: query.function_id ?? null }));
      },
      {
        query: ListQuery,
        response: { 200: pageOf(Deployment) },
        detail: { tags, summary: 'List the deployments of all functions, newest first' },
      },
    )
    .get(
      '/deployments/:id',
      async ({ params, query, request }) => {
        if (query.wait_ms === undefined) return progress.of(await deployments.get(params.id));
        const ms = Math.min(Number(query.wait_ms), CONTROL_BOUNDS.deploymentWaitMsMax);
        return progress.wait(params.id, { ms, signal: request.signal });
      },
      {
        params: DeploymentParams,
        query: WaitQuery,
        response: { 200: DeploymentProgress },
        detail: DESCRIPTIONS.show,
      },
    )
    .post(
      '/deployments/:id/end',
      ({ params, request, status }) => {
        const input = { id: params.id, actor: contexts.actorOf(request) };
        return mutations.run(request, async (store) => status(200, await store.deployments.end(input)));
      },
      {
        params: DeploymentParams,
        parse: 'none',
        response: { 200: Deployment },
        detail: DESCRIPTIONS.end,
      },
    );
}
