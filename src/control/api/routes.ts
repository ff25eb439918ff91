// Routes over HTTP: which host, path and methods lead to which function.
import { Type } from '@sinclair/typebox';
import type { AnyElysia } from 'elysia';
import { pageOf } from '../../model/api.ts';
import { CreateRoute, Route, type RouteRule } from '../../model/route.ts';
import type { Store } from '../../store/store.ts';
import { jsonBody } from '../http/bodies.ts';
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
  newId: (prefix: string) => string;
}): AnyElysia {
  const { routes, contexts, newId } = options;
  return createResource('/api/v1/routes')
    .post(
      '',
      async ({ body, request, status }) => {
        const rule = { ...RULE_DEFAULTS, ...body };
        const actor = contexts.actorOf(request);
        const { route, created } = await routes.create({ ...rule, id: newId('rt'), actor });
        return status(created ? 201 : 200, route);
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
      async ({ params, request }) => {
        await routes.remove({ id: params.id, actor: contexts.actorOf(request) });
        return noContent();
      },
      { params: RouteParams },
    );
}
