// A route leads requests of a host, a path and methods to a function: its schemas and its patterns.
import { type Static, Type } from '@sinclair/typebox';
import { Name } from './names.ts';

export const Method = Type.Union([
  Type.Literal('GET'),
  Type.Literal('HEAD'),
  Type.Literal('POST'),
  Type.Literal('PUT'),
  Type.Literal('PATCH'),
  Type.Literal('DELETE'),
  Type.Literal('OPTIONS'),
]);
export type Method = Static<typeof Method>;

/** `host`: exact (`api.example.com`), suffix (`*.example.com`) or any (`*`); lower case, no port. */
export const RouteHost = Type.String({
  pattern: '^(\\*|(\\*\\.)?[a-z0-9]([a-z0-9-]{0,62})(\\.[a-z0-9]([a-z0-9-]{0,62}))*)$',
  maxLength: 253,
});

const SEGMENT = "([A-Za-z0-9._~!$&'()+,;=@%-]+|:[A-Za-z_][A-Za-z0-9_]*)";

/** `path`: segments that are literal or `:param`, and a trailing `*` for everything below. */
export const RoutePath = Type.String({ pattern: `^/${SEGMENT}?(/${SEGMENT})*/?(\\*)?$`, maxLength: 1_024 });

/** What an edge matches requests against. Empty `methods` mean every method; a higher `priority` wins. */
export const RouteRule = Type.Object(
  {
    host: RouteHost,
    path: RoutePath,
    methods: Type.Array(Method, { maxItems: 7, uniqueItems: true }),
    priority: Type.Integer({ minimum: -1_000, maximum: 1_000 }),
  },
  { additionalProperties: false },
);
export type RouteRule = Static<typeof RouteRule>;

export const Route = Type.Object({
  id: Type.String(),
  project_id: Name,
  function_id: Type.String(),
  ...RouteRule.properties,
  created_at: Type.String(),
});
export type Route = Static<typeof Route>;

/** POST /api/v1/routes */
export const CreateRoute = Type.Object(
  {
    function_id: Type.String({ maxLength: 64 }),
    path: RoutePath,
    host: Type.Optional(RouteHost),
    methods: Type.Optional(RouteRule.properties.methods),
    priority: Type.Optional(RouteRule.properties.priority),
  },
  { additionalProperties: false },
);
export type CreateRoute = Static<typeof CreateRoute>;

/** The path without the names of its parameters: two paths of one shape match the same requests. */
export function routeShape(path: string): string {
  return path.replace(/\/:[A-Za-z_][A-Za-z0-9_]*/g, '/:');
}

/** The wildcard hosts that take requests of `host` too, or of some host under it where it is a wildcard. */
export function hostsAbove(host: string): string[] {
  const above: string[] = [];
  let dot = host.indexOf('.', host.startsWith('*.') ? 2 : 0);
  for (; dot !== -1; dot = host.indexOf('.', dot + 1)) above.push(`*${host.slice(dot)}`);
  return above;
}

/** Whether some request fits both method lists; an empty list means every method. */
export function methodsOverlap(some: readonly Method[], others: readonly Method[]): boolean {
  return some.length === 0 || others.length === 0 || some.some((method) => others.includes(method));
}
