// Closed operations on functions: create, find, list, delete.
import { and, asc, eq, gt } from 'drizzle-orm';
import { CodedError } from '../base/errors.ts';
import type { EdgeFunction, Version, VersionSettings } from '../model/function.ts';
import { isoTime, type Page, type PageRequest, pageOfRows } from './pages.ts';
import type { Change, Database, Query } from './database/database.ts';
import * as tables from './sqlite/tables.ts';
import { insertVersion, latestPublished, removeUnreferenced } from './versions.ts';

const { deployments, functions, projects, versions } = tables;

export type NewFunction = {
  id: string;
  project_id: string;
  name: string;
  pop_selector: string | null;
  version: string;
  settings: VersionSettings;
};

export type FunctionOperations = {
  /** Also makes the project where it is new. Refuses `name_taken`. */
  create(input: NewFunction & { actor: string }): Promise<{ function: EdgeFunction; version: Version }>;
  /** Refuses `function_not_found`. */
  get(id: string): Promise<EdgeFunction>;
  list(
    page: PageRequest & { project_id?: string | undefined; name?: string | undefined },
  ): Promise<Page<EdgeFunction>>;
  /**
   * Refuses `function_in_use` while deployed. Returns the digests of artifacts that nothing refers to any
   * more.
   */
  remove(input: { id: string; actor: string }): Promise<string[]>;
};

export function functionOperations(database: Database): FunctionOperations {
  return {
    create: (input) => database.write((change) => create(change, input)),
    get: (id) => database.read((db) => findFunction(db, id)),
    list: (page) =>
      database.read((db) => {
        const conditions = [
          page.cursor === null ? undefined : gt(functions.id, page.cursor),
          page.project_id === undefined ? undefined : eq(functions.project_id, page.project_id),
          page.name === undefined ? undefined : eq(functions.name, page.name),
        ];
        const rows = db
          .select()
          .from(functions)
          .where(and(...conditions))
          .orderBy(asc(functions.id))
          .limit(page.limit + 1)
          .all();
        return pageOfRows(
          rows,
          page.limit,
          (row) => row.id,
          (row) => toFunction(db, row),
        );
      }),
    remove: (input) => database.write((change) => remove(change, input)),
  };
}

/** Refuses `function_not_found`. */
export function findFunction(db: Query, id: string): EdgeFunction {
  const row = db.select().from(functions).where(eq(functions.id, id)).get();
  if (row === undefined) throw new CodedError('function_not_found');
  return toFunction(db, row);
}

function create(
  change: Change,
  input: NewFunction & { actor: string },
): { function: EdgeFunction; version: Version } {
  const { tx, nowMs } = change;
  tx.insert(projects).values({ id: input.project_id, created_at_ms: nowMs }).onConflictDoNothing().run();
  const same = and(eq(functions.project_id, input.project_id), eq(functions.name, input.name));
  const taken = tx.select({ id: functions.id }).from(functions).where(same).get();
  if (taken !== undefined) throw new CodedError('name_taken', { details: { function_id: taken.id } });
  const { id, project_id, name, pop_selector } = input;
  tx.insert(functions).values({ id, project_id, name, pop_selector, created_at_ms: nowMs }).run();
  const version = insertVersion(change, {
    function_id: id,
    version: input.version,
    settings: input.settings,
  });
  change.record({ actor: input.actor, action: 'function.create', target: id, detail: { project_id, name } });
  return { function: findFunction(tx, id), version };
}

function remove(change: Change, input: { id: string; actor: string }): string[] {
  const { tx } = change;
  const { name, project_id } = findFunction(tx, input.id);
  const active = and(eq(deployments.function_id, input.id), eq(deployments.status, 'active'));
  const held = tx.select({ id: deployments.id }).from(deployments).where(active).get();
  if (held !== undefined) throw new CodedError('function_in_use', { details: { deployment_id: held.id } });
  const owned = tx
    .select({ sha256: versions.sha256 })
    .from(versions)
    .where(eq(versions.function_id, input.id))
    .all();
  tx.delete(functions).where(eq(functions.id, input.id)).run();
  change.record({
    actor: input.actor,
    action: 'function.delete',
    target: input.id,
    detail: { project_id, name },
  });
  return removeUnreferenced(
    tx,
    owned.map((row) => row.sha256),
  );
}

function toFunction(db: Query, row: typeof functions.$inferSelect): EdgeFunction {
  const { id, project_id, name, pop_selector } = row;
  return {
    id,
    project_id,
    name,
    runtime: 'wasm',
    pop_selector,
    created_at: isoTime(row.created_at_ms),
    latest_version: latestPublished(db, id),
  };
}
