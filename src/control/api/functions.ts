// Functions over HTTP: create, find, list, delete.
import { type Static, Type } from '@sinclair/typebox';
import type { AnyElysia } from 'elysia';
import { CodedError } from '../../base/errors.ts';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import { FunctionCreated, pageOf } from '../../model/api.ts';
import {
  CreateFunction,
  type CreateVersion,
  defaultVersionSettings,
  EdgeFunction,
  type VersionSettings,
} from '../../model/function.ts';
import { Name } from '../../model/names.ts';
import { compileSelector } from '../../model/rules/selector.ts';
import { jsonBody } from '../http/bodies.ts';
import { badFields } from '../http/failures.ts';
import {
  type ApiParts,
  createResource,
  FunctionParams,
  pageAnswer,
  pageQuery,
  pageRequest,
} from './resource.ts';

const ListQuery = Type.Object(
  { ...pageQuery, project: Type.Optional(Name), name: Type.Optional(Name) },
  { additionalProperties: false },
);

const PROJECT_DEFAULT = 'default';
const VERSION_FIRST = '1.0.0';

export function functionsApi(parts: ApiParts): AnyElysia {
  const { store, contexts, publish } = parts;
  return createResource('/api/v1/functions')
    .post('', async ({ body, request, status }) => status(201, await create(parts, body, request)), {
      parse: [jsonBody, 'json'],
      body: CreateFunction,
      response: { 201: FunctionCreated },
    })
    .get(
      '',
      async ({ query }) => {
        const { project: project_id, name } = query;
        return pageAnswer(await store.functions.list({ ...pageRequest(query), project_id, name }));
      },
      { query: ListQuery, response: { 200: pageOf(EdgeFunction) } },
    )
    .get('/:id', ({ params }) => store.functions.get(params.id), {
      params: FunctionParams,
      response: { 200: EdgeFunction },
    })
    .delete(
      '/:id',
      async ({ params, request }) => {
        await publish.removeFunction({ id: params.id, actor: contexts.actorOf(request) });
        return new Response(null, { status: 204 });
      },
      { params: FunctionParams },
    );
}

async function create(
  parts: ApiParts,
  body: Static<typeof CreateFunction>,
  request: Request,
): Promise<FunctionCreated> {
  const { store, contexts, publish, newId } = parts;
  if (body.pop_selector !== undefined) requireSelector(body.pop_selector);
  const made = await store.functions.create({
    id: newId('fn'),
    project_id: body.owner_project_id ?? PROJECT_DEFAULT,
    name: body.name,
    pop_selector: body.pop_selector ?? null,
    version: body.version ?? VERSION_FIRST,
    settings: { ...defaultVersionSettings, ...settingsOf(body) },
    actor: contexts.actorOf(request),
  });
  return { ...made, ...publish.uploadUrl(made.version, new URL(request.url).origin) };
}

/** The settings that a request names; refuses an `env` whose bytes pass the limit. */
export function settingsOf(body: CreateVersion): Partial<VersionSettings> {
  const { entrypoint, memory_pages, max_execution_ms, isolation, max_reuse, env } = body;
  if (env !== undefined && Buffer.byteLength(JSON.stringify(env)) > FUNCTION_BOUNDS.envBytesMax) {
    throw badFields({ field: 'env', message: `has more than ${FUNCTION_BOUNDS.envBytesMax} bytes as JSON` });
  }
  const named = { entrypoint, memory_pages, max_execution_ms, isolation, max_reuse, env };
  return Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined));
}

/** Refuses `selector_invalid` with what is wrong and where. */
export function requireSelector(source: string): void {
  const outcome = compileSelector(source);
  if (outcome.ok) return;
  const { message, position } = outcome;
  throw new CodedError('selector_invalid', { details: { reason: message, ...position } });
}
