// Functions over HTTP: create, find, list, delete.
import { Type } from '@sinclair/typebox';
import type { AnyElysia } from 'elysia';
import { FunctionCreated, pageOf } from '../../model/api.ts';
import { CreateFunction, defaultVersionSettings, EdgeFunction } from '../../model/function.ts';
import { Name, PROJECT_DEFAULT } from '../../model/names.ts';
import type { NewFunction } from '../../store/functions.ts';
import type { Store } from '../../store/store.ts';
import { VERSION_FIRST } from '../../store/versions.ts';
import { jsonBody } from '../http/bodies.ts';
import type { Mutations } from '../http/mutations.ts';
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

export function functionsApi(options: {
  functions: Store['functions'];
  publish: Pick<Publish, 'uploadUrl' | 'remove'>;
  contexts: RequestContexts;
  mutations: Mutations;
  newId: (prefix: string) => string;
}): AnyElysia {
  const { functions, publish, contexts, mutations, newId } = options;
  return createResource('/api/v1/functions')
    .post(
      '',
      ({ body, request, status }) => {
        const input = { ...newFunction(newId('fn'), body), actor: contexts.actorOf(request) };
        return mutations.run(request, async (store) => {
          const created = await store.functions.create(input);
          return status(201, { ...created, ...publish.uploadUrl(created.version, originOf(request)) });
        });
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
      ({ params, request }) => {
        const input = { id: params.id, actor: contexts.actorOf(request) };
        return publish.remove((removed) =>
          mutations.run(request, async (store) => {
            removed(await store.functions.remove(input));
            return noContent();
          }),
        );
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
