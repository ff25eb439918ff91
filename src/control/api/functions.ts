// Functions over HTTP: create, find, list, delete.
import { Type } from '@sinclair/typebox';
import type { AnyElysia } from 'elysia';
import { FunctionCreated, pageOf } from '../../model/api.ts';
import { CreateFunction, defaultVersionSettings, EdgeFunction } from '../../model/function.ts';
import { Name } from '../../model/names.ts';
import type { NewFunction } from '../../store/functions.ts';
import type { Store } from '../../store/store.ts';
import { VERSION_FIRST } from '../../store/versions.ts';
import { jsonBody } from '../http/bodies.ts';
import type { RequestContexts } from '../http/request_context.ts';
import type { Publish } from '../publish/publish.ts';
import { requireSelector, settingsOf } from './request_rules.ts';
import {
  createResource,
  FunctionParams,
  noContent,
  originOf,
  pageAnswer,
  pageQuery,
  pageRequest,
} from './resource.ts';

const ListQuery = Type.Object(
  { ...pageQuery, project: Type.Optional(Name), name: Type.Optional(Name) },
  { additionalProperties: false },
);

const PROJECT_DEFAULT = 'default';

export function functionsApi(options: {
  functions: Store['functions'];
  publish: Pick<Publish, 'uploadUrl' | 'removeFunction'>;
  contexts: RequestContexts;
  newId: (prefix: string) => string;
}): AnyElysia {
  const { functions, publish, contexts, newId } = options;
  return createResource('/api/v1/functions')
    .post(
      '',
      async ({ body, request, status }) => {
        const actor = contexts.actorOf(request);
        const created = await functions.create({ ...newFunction(newId('fn'), body), actor });
        return status(201, { ...created, ...publish.uploadUrl(created.version, originOf(request)) });
      },
      { parse: [jsonBody, 'json'], body: CreateFunction, response: { 201: FunctionCreated } },
    )
    .get(
      '',
      async ({ query }) => {
        const { project: project_id, name } = query;
        return pageAnswer(await functions.list({ ...pageRequest(query), project_id, name }));
      },
      { query: ListQuery, response: { 200: pageOf(EdgeFunction) } },
    )
    .get('/:id', ({ params }) => functions.get(params.id), {
      params: FunctionParams,
      response: { 200: EdgeFunction },
    })
    .delete(
      '/:id',
      async ({ params, request }) => {
        await publish.removeFunction({ id: params.id, actor: contexts.actorOf(request) });
        return noContent();
      },
      { params: FunctionParams },
    );
}

/** Refuses `selector_invalid` and `validation_failed`. */
function newFunction(id: string, body: CreateFunction): NewFunction {
  if (body.pop_selector !== undefined) requireSelector(body.pop_selector);
  return {
    id,
    project_id: body.owner_project_id ?? PROJECT_DEFAULT,
    name: body.name,
    pop_selector: body.pop_selector ?? null,
    version: body.version ?? VERSION_FIRST,
    settings: { ...defaultVersionSettings, ...settingsOf(body) },
  };
}
