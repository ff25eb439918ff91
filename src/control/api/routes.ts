// Routes over HTTP: which host, path and methods lead to which function.
import { Type } from '@sinclair/typebox';
import type { AnyElysia } from 'elysia';
import { pageOf } from '../../model/api.ts';
import { CreateRoute, Route, type RouteRule } from '../../model/route.ts';
import type { Store } from '../../store/store.ts';
import { jsonBody } from '../http/bodies.ts';
import type { Mutations } from '../http/mutations.ts';
import type { RequestContexts } from '../http/request_context.ts';
import { createResource, noContent, pageAnswer, pageQuery, pageRequest } from './resource.ts';

const RouteParams = Type.Object({ id: Type.String() });
const ListQuery = Type.Object(
  { ...pageQuery, function_id: Type.Optional(Type.String({ maxLength: 64 })) },
  { additionalProperties: false },
);

const RULE_DEFAULTS: Pick<RouteRule, 'host' | 'methods' | 'priority'> = {
  host: '*',
  methods: [],
  priority: 0,
};

export function routesApi(options: {
  routes: Store['routes'];
  contexts: RequestContexts;
  mutations: Mutations;
  newId: (prefix: string) => string;
}): AnyElysia {
  const { routes, contexts, mutations, newId } = options;
  return createResource('/api/v1/routes')
    .post(
      '',
      ({ body, request, status }) => {
        const rule = { ...RULE_DEFAULTS, ...body };
        const input = { ...rule, id: newId('rt'), actor: contexts.actorOf(request) };
        return mutations.run(request, async (store) => {
          const { route, created } = await store.routes.create(input);
          return status(created ? 201 : 200, route);
        });
      },
      { parse: [jsonBody, 'json'], body: CreateRoute, response: { 200: Route, 201: Route } },
    )
    .get(
      '',
      async ({ query }) => {
        return pageAnswer(await routes.list({ ...pageRequest(query), function_id: query.function_id }));
      },
      { query: ListQuery, response: { 200: pageOf(Route) } },
    )
    .delete(
      '/:id',
      ({ params, request }) => {
        const input = { id: params.id, actor: contexts.actorOf(request) };
        return mutations.run(request, async (store) => {
          await store.routes.remove(input);
          return noContent();
        });
      },
      { params: RouteParams },
    );
}
