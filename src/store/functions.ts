// The store's operations on functions.
import { and, asc, eq, gt } from 'drizzle-orm';
import { CodedError } from '../base/errors.ts';
import type { EdgeFunction, Version, VersionSettings } from '../model/function.ts';
import type { Change, Database, Reading } from './database/database.ts';
import { mark } from './marks.ts';
import { isoTime, type Page, type PageRequest, pageOfRows } from './pages.ts';
import { isActive, type Tables } from './schema.ts';
import { insertVersion, latestPublished, removeUnreferenced } from './versions.ts';

export type NewFunction = {
  id: string;
  project_id: string;
  name: string;
  pop_selector: string | null;
  version: string;
  settings: VersionSettings;
};

export type FunctionOperations = {
  /** Also creates the project where it is missing. Refuses `name_taken`. */
  create(input: NewFunction & { actor: string }): Promise<{ function: EdgeFunction; version: Version }>;
  /** Refuses `function_not_found`. */
  get(id: string): Promise<EdgeFunction>;
  list(
    page: PageRequest & { project_id?: string | undefined; name?: string | undefined },
  ): Promise<Page<EdgeFunction>>;
  /**
   * Refuses `function_not_found`, and `function_in_use` while it is deployed. Returns the digests of the
   * artifacts that no version refers to after it.
   */
  remove(input: { id: string; actor: string }): Promise<string[]>;
};

type FunctionRow = Tables['functions']['$inferSelect'];

export function functionOperations(database: Database): FunctionOperations {
  return {
    create: (input) => database.write((change) => create(change, input)),
    get: (id) => database.read((reading) => findFunction(reading, id)),
    list: (page) => database.read((reading) => list(reading, page)),
    remove: (input) => database.write((change) => remove(change, input)),
  };
}

/** Refuses `function_not_found`. */
export async function findFunction(reading: Reading, id: string): Promise<EdgeFunction> {
  const { db, tables } = reading;
  const { functions } = tables;
  const [row] = await db.select().from(functions).where(eq(functions.id, id));
  if (row === undefined) throw new CodedError('function_not_found');
  const latest = await latestPublished(reading, [id]);
  return toFunction(row, latest.get(id));
}

async function create(
  change: Change,
  input: NewFunction & { actor: string },
): Promise<{ function: EdgeFunction; version: Version }> {
  const { db, tables, nowMs } = change;
  const { functions, projects } = tables;
  const { id, project_id, name, pop_selector, settings, actor } = input;
  await db.insert(projects).values({ id: project_id, created_at_ms: nowMs }).onConflictDoNothing();
  const [taken] = await db
    .select({ id: functions.id })
    .from(functions)
    .where(and(eq(functions.project_id, project_id), eq(functions.name, name)));
  if (taken !== undefined) throw new CodedError('name_taken', { details: { function_id: taken.id } });
  const row: FunctionRow = { id, project_id, name, pop_selector, desired_revision: 0, created_at_ms: nowMs };
  await db.insert(functions).values(row);
  const version = await insertVersion(change, { function_id: id, version: input.version, settings });
  await change.record({ actor, action: 'function.create', target: id, detail: { project_id, name } });
  return { function: toFunction(row, undefined), version };
}

async function list(
  reading: Reading,
  page: PageRequest & { project_id?: string | undefined; name?: string | undefined },
): Promise<Page<EdgeFunction>> {
  const { db, tables } = reading;
  const { functions } = tables;
  const conditions = [
    page.cursor === null ? undefined : gt(functions.id, page.cursor),
    page.project_id === undefined ? undefined : eq(functions.project_id, page.project_id),
    page.name === undefined ? undefined : eq(functions.name, page.name),
  ];
  const rows = await db
    .select()
    .from(functions)
    .where(and(...conditions))
    .orderBy(asc(functions.id))
    .limit(page.limit + 1);
  const latest = await latestPublished(
    reading,
    rows.map((row) => row.id),
  );
  return pageOfRows(
    rows,
    page.limit,
    (row) => row.id,
    (row) => toFunction(row, latest.get(row.id)),
  );
}

async function remove(change: Change, input: { id: string; actor: string }): Promise<string[]> {
  const { db, tables } = change;
  const { deployments, functions, versions } = tables;
  const { id, actor } = input;
  const { name, project_id } = await findFunction(change, id);
  const [held] = await db
    .select({ id: deployments.id })
    .from(deployments)
    .where(and(eq(deployments.function_id, id), isActive(tables)));
  if (held !== undefined) throw new CodedError('function_in_use', { details: { deployment_id: held.id } });
  const owned = await db
    .select({ sha256: versions.sha256 })
    .from(versions)
    .where(eq(versions.function_id, id));
  await db.delete(functions).where(eq(functions.id, id));
  const detail = { project_id, name };
  await mark(
    change,
    'deletions',
    await change.record({ actor, action: 'function.delete', target: id, detail }),
  );
  return removeUnreferenced(
    change,
    owned.map((row) => row.sha256),
  );
}

function toFunction(row: FunctionRow, latest_version: string | undefined): EdgeFunction {
  const { id, project_id, name, pop_selector } = row;
  return {
    id,
    project_id,
    name,
    runtime: 'wasm',
    pop_selector,
    created_at: isoTime(row.created_at_ms),
    latest_version: latest_version ?? null,
  };
}
