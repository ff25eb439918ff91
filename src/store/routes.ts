// Closed operations on routes: what may stand beside what is decided here, in the transaction that adds it.
import { and, asc, eq, gt } from 'drizzle-orm';
import { CodedError } from '../base/errors.ts';
import { FUNCTION_BOUNDS } from '../base/limits/function.ts';
import { methodsOverlap, type Route, type RouteRule, routeShape } from '../model/route.ts';
import { isoTime, type Page, type PageRequest, pageOfRows } from './pages.ts';
import type { Change, Database, Query } from './database/database.ts';
import { findFunction } from './functions.ts';
import * as tables from './sqlite/tables.ts';

const { functions, routes } = tables;

export type RouteOperations = {
  /**
   * The same rule for the same function again is no change. Refuses `function_not_found`, `limit_reached`,
   * and `route_taken` where host, path and priority are those of another function's route and the methods
   * overlap.
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
    list: (page) =>
      database.read((db) => {
        const after = page.cursor === null ? undefined : gt(routes.id, page.cursor);
        const of = page.function_id === undefined ? undefined : eq(routes.function_id, page.function_id);
        const rows = selectRoutes(db)
          .where(and(after, of))
          .orderBy(asc(routes.id))
          .limit(page.limit + 1)
          .all();
        return pageOfRows(rows, page.limit, (row) => row.route.id, toRoute);
      }),
    remove: (input) =>
      database.write(({ tx, record }) => {
        const row = tx.select().from(routes).where(eq(routes.id, input.id)).get();
        if (row === undefined) throw new CodedError('route_unknown');
        tx.delete(routes).where(eq(routes.id, input.id)).run();
        const { host, path, function_id } = row;
        record({
          actor: input.actor,
          action: 'route.delete',
          target: input.id,
          detail: { host, path, function_id },
        });
      }),
  };
}

function create(
  change: Change,
  input: RouteRule & { id: string; function_id: string; actor: string },
): { route: Route; created: boolean } {
  const { tx, nowMs } = change;
  const { id, function_id, host, path, priority, actor } = input;
  const { project_id } = findFunction(tx, function_id);
  const methods = [...input.methods].sort();
  const shape = routeShape(path);
  const place = and(eq(routes.host, host), eq(routes.shape, shape), eq(routes.priority, priority));
  const beside = selectRoutes(tx).where(place).all();
  const same = beside.find(({ route }) => {
    return (
      route.function_id === function_id && route.path === path && route.methods.join() === methods.join()
    );
  });
  if (same !== undefined) return { route: toRoute(same), created: false };
  if (
    beside.some(({ route }) => route.function_id !== function_id && methodsOverlap(route.methods, methods))
  ) {
    throw new CodedError('route_taken', { details: { host, path, priority } });
  }
  const owned = tx.select({ id: routes.id }).from(routes).where(eq(routes.function_id, function_id)).all();
  if (owned.length >= FUNCTION_BOUNDS.routesPerFunctionMax) throw new CodedError('limit_reached');
  const row = { id, function_id, host, path, shape, methods, priority, created_at_ms: nowMs };
  tx.insert(routes).values(row).run();
  change.record({
    actor,
    action: 'route.create',
    target: id,
    detail: { host, path, methods, priority, function_id },
  });
  return { route: toRoute({ route: row, project_id }), created: true };
}

function selectRoutes(db: Query) {
  return db
    .select({ route: routes, project_id: functions.project_id })
    .from(routes)
    .innerJoin(functions, eq(functions.id, routes.function_id))
    .$dynamic();
}

function toRoute(row: { route: typeof routes.$inferSelect; project_id: string }): Route {
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
