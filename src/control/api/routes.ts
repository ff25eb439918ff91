// Routes over HTTP: which host, path and methods lead to which function.
import { Type } from '@sinclair/typebox';
import type { AnyElysia } from 'elysia';
import { pageOf } from '../../model/api.ts';
import { CreateRoute, Route, type RouteRule } from '../../model/route.ts';
import { jsonBody } from '../http/bodies.ts';
import { type ApiParts, createResource, pageAnswer, pageQuery, pageRequest } from './resource.ts';

const ListQuery = Type.Object(
  { ...pageQuery, function_id: Type.Optional(Type.String({ maxLength: 64 })) },
  { additionalProperties: false },
);

const ruleDefaults: Pick<RouteRule, 'host' | 'methods' | 'priority'> = {
  host: '*',
  methods: [],
  priority: 0,
};

export function routesApi(parts: ApiParts): AnyElysia {
  const { store, contexts, newId } = parts;
  return createResource('/api/v1/routes')
    .post(
      '',
      async ({ body, request, status }) => {
        const actor = contexts.actorOf(request);
        const { route, created } = await store.routes.create({
          ...ruleDefaults,
          ...body,
          id: newId('rt'),
          actor,
        });
        return status(created ? 201 : 200, route);
      },
      { parse: [jsonBody, 'json'], body: CreateRoute, response: { 200: Route, 201: Route } },
    )
    .get(
      '',
      async ({ query }) => {
        const { function_id } = query;
        return pageAnswer(await store.routes.list({ ...pageRequest(query), function_id }));
      },
      { query: ListQuery, response: { 200: pageOf(Route) } },
    )
    .delete(
      '/:id',
      async ({ params, request }) => {
        await store.routes.remove({ id: params.id, actor: contexts.actorOf(request) });
        return new Response(null, { status: 204 });
      },
      { params: Type.Object({ id: Type.String() }) },
    );
}
