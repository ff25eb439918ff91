// The store's operations on routes; the transaction that adds one checks it against those of others.
import { and, asc, count, eq, gt, inArray, like, lt, ne, or, type SQL } from 'drizzle-orm';
import { CodedError } from '../base/errors.ts';
import { FUNCTION_BOUNDS } from '../base/limits/function.ts';
import { PROJECT_DEFAULT } from '../model/names.ts';
import { hostsAbove, methodsOverlap, type Route, type RouteRule, routeShape } from '../model/route.ts';
import type { Change, Database, Reading } from './database/database.ts';
import { findFunction } from './functions.ts';
import { markFunction } from './marks.ts';
import { isoTime, type Page, type PageRequest, pageOfRows } from './pages.ts';
import type { Tables } from './schema.ts';

/** A route and the project of its function. */
type RouteRow = { route: Tables['routes']['$inferSelect']; project_id: string };

export type RouteOperations = {
  /**
   * A rule that the function has already is no change. Refuses `function_not_found`, `limit_reached`,
   * `host_taken` where the host belongs to another project, and `route_taken` where host, path and priority
   * are those of another function's route and the methods overlap.
   */
  create(
    input: RouteRule & { id: string; function_id: string; actor: string },
  ): Promise<{ route: Route; created: boolean }>;
  list(page: PageRequest & { function_id?: string | undefined }): Promise<Page<Route>>;
  /** Refuses `route_unknown`. */
  remove(input: { id: string; actor: string }): Promise<void>;
};

export function routeOperations(database: Database): RouteOperations {
  return {
    create: (input) => database.write((change) => create(change, input)),
    list: (page) => database.read((reading) => list(reading, page)),
    remove: (input) => database.write((change) => remove(change, input)),
  };
}

async function create(
  change: Change,
  input: RouteRule & { id: string; function_id: string; actor: string },
): Promise<{ route: Route; created: boolean }> {
  const { db, tables, nowMs } = change;
  const { routes } = tables;
  const { id, function_id, host, path, priority, actor } = input;
  const { project_id } = await findFunction(change, function_id);
  const methods = [...input.methods].sort();
  const shape = routeShape(path);
  const isHere = and(eq(routes.host, host), eq(routes.shape, shape), eq(routes.priority, priority));
  const beside = await selectRoutes(change, isHere);
  const own = beside.filter(({ route }) => route.function_id === function_id);
  const same = own.find(({ route }) => route.path === path && route.methods.join() === methods.join());
  if (same !== undefined) return { route: toRoute(same), created: false };
  await requireHost(change, { host, priority, project_id });
  const foreign = beside.filter(({ route }) => route.function_id !== function_id);
  if (foreign.some(({ route }) => methodsOverlap(route.methods, methods)))
    throw new CodedError('route_taken', { details: { host, path, priority } });
  const [owned] = await db
    .select({ routes: count() })
    .from(routes)
    .where(eq(routes.function_id, function_id));
  if ((owned?.routes ?? 0) >= FUNCTION_BOUNDS.routesPerFunctionMax) throw new CodedError('limit_reached');
  const route = { id, function_id, host, path, shape, methods, priority, created_at_ms: nowMs };
  await db.insert(routes).values(route);
  const revision = await change.record({
    actor,
    action: 'route.create',
    target: id,
    detail: { host, path, methods, priority, function_id },
  });
  await markFunction(change, function_id, revision);
  return { route: toRoute({ route, project_id }), created: true };
}

/**
 * A host, and with a wildcard all hosts under it, belongs to the project of the first route on it, for as long
 * as that project has one there. `*` belongs to the default project, which takes with it what no route of
 * another project takes: it may not raise a priority above theirs. Refuses `host_taken`.
 */
async function requireHost(
  reading: Reading,
  { host, priority, project_id }: Pick<RouteRule, 'host' | 'priority'> & { project_id: string },
): Promise<void> {
  const { functions, routes } = reading.tables;
  if (host === '*' && project_id !== PROJECT_DEFAULT) {
    const message = `Routes on every host belong to the project ${PROJECT_DEFAULT}: name a host.`;
    throw new CodedError('host_taken', { message, details: { host } });
  }
  const isUnder = host.startsWith('*.') ? like(routes.host, `%${host.slice(1)}`) : undefined;
  const overlaps =
    host === '*'
      ? and(ne(routes.host, '*'), lt(routes.priority, priority))
      : or(inArray(routes.host, [host, ...hostsAbove(host)]), isUnder);
  const [held] = await selectRoutes(reading, and(ne(functions.project_id, project_id), overlaps)).limit(1);
  if (held === undefined) return;
  if (host !== '*') throw new CodedError('host_taken', { details: { host } });
  const message = 'Another project has routes of a lower priority: on every host, at most theirs is allowed.';
  throw new CodedError('host_taken', { message, details: { host, priority } });
}

async function list(
  reading: Reading,
  page: PageRequest & { function_id?: string | undefined },
): Promise<Page<Route>> {
  const { routes } = reading.tables;
  const after = page.cursor === null ? undefined : gt(routes.id, page.cursor);
  const ofFunction = page.function_id === undefined ? undefined : eq(routes.function_id, page.function_id);
  const rows = await selectRoutes(reading, and(after, ofFunction))
    .orderBy(asc(routes.id))
    .limit(page.limit + 1);
  return pageOfRows(rows, page.limit, (row) => row.route.id, toRoute);
}

async function remove(change: Change, input: { id: string; actor: string }): Promise<void> {
  const { db, tables } = change;
  const { routes } = tables;
  const { id, actor } = input;
  const [row] = await db.select().from(routes).where(eq(routes.id, id));
  if (row === undefined) throw new CodedError('route_unknown');
  await db.delete(routes).where(eq(routes.id, id));
  const { host, path, function_id } = row;
  const detail = { host, path, function_id };
  const revision = await change.record({ actor, action: 'route.delete', target: id, detail });
  await markFunction(change, function_id, revision);
}

/** The query, not yet run. */
function selectRoutes({ db, tables }: Reading, condition: SQL | undefined) {
  const { functions, routes } = tables;
  return db
    .select({ route: routes, project_id: functions.project_id })
    .from(routes)
    .innerJoin(functions, eq(functions.id, routes.function_id))
    .where(condition);
}

function toRoute(row: RouteRow): Route {
  const { id, function_id, host, path, methods, priority, created_at_ms } = row.route;
  return {
    id,
    project_id: row.project_id,
    function_id,
    host,
    path,
    methods,
    priority,
    created_at: isoTime(created_at_ms),
  };
}
