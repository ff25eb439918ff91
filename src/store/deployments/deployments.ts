// The store's operations on deployments: a function has at most one active, and a new one supersedes it.
import { and, desc, eq, lt } from 'drizzle-orm';
import { CodedError } from '../../base/errors.ts';
import type { Deployment } from '../../model/deployment.ts';
import { type Change, type Database, type Reading, revisionOf } from '../database/database.ts';
import { isoTime, type Page, type PageRequest, pageOfRows } from '../pages.ts';
import { isActive, type Tables } from '../schema.ts';
import { findVersion, latestPublished, requireFunction } from '../versions.ts';

/** Without `version`: the highest published one. */
export type NewDeployment = {
  id: string;
  function_id: string;
  version: string | undefined;
  pop_selector: string | null;
  target_pop: string[] | null;
  actor: string;
};

export type DeploymentOperations = {
  /** Refuses `function_not_found`, `version_not_found`, `version_not_published`. */
  deploy(input: NewDeployment): Promise<Deployment>;
  /** What `deploy` would create, with the revision that it would follow; refuses what `deploy` refuses. */
  plan(input: NewDeployment): Promise<Deployment>;
  /** Refuses `function_not_found`, `not_deployed`. */
  undeploy(input: { function_id: string; actor: string }): Promise<Deployment>;
  /**
   * Deploys `version`, or the version before the active one, to the nodes of the active deployment. Refuses
   * `function_not_found`, `not_deployed`, `nothing_to_roll_back`, `version_not_found`,
   * `version_not_published`.
   */
  rollBack(input: {
    id: string;
    function_id: string;
    version: string | undefined;
    actor: string;
  }): Promise<Deployment>;
  /** Refuses `deployment_not_found`. */
  get(id: string): Promise<Deployment>;
  /** Newest first; the cursor is a revision. Refuses `function_not_found`. */
  list(page: PageRequest & { function_id: string }): Promise<Page<Deployment>>;
};

type DeploymentRow = Tables['deployments']['$inferSelect'];

export function deploymentOperations(database: Database): DeploymentOperations {
  return {
    deploy: (input) => database.write((change) => insert(change, { ...input, action: 'deployment.create' })),
    plan: (input) => database.read(async (reading) => planned(reading, input, await revisionOf(reading))),
    undeploy: (input) => database.write((change) => undeploy(change, input)),
    rollBack: (input) => database.write((change) => rollBack(change, input)),
    get: (id) =>
      database.read(async ({ db, tables: { deployments } }) => {
        const [row] = await db.select().from(deployments).where(eq(deployments.id, id));
        if (row === undefined) throw new CodedError('deployment_not_found');
        return toDeployment(row);
      }),
    list: (page) => database.read((reading) => list(reading, page)),
  };
}

async function list(
  reading: Reading,
  page: PageRequest & { function_id: string },
): Promise<Page<Deployment>> {
  const { db, tables } = reading;
  const { deployments } = tables;
  await requireFunction(reading, page.function_id);
  const before = page.cursor === null ? undefined : lt(deployments.revision, Number(page.cursor));
  const rows = await db
    .select()
    .from(deployments)
    .where(and(eq(deployments.function_id, page.function_id), before))
    .orderBy(desc(deployments.revision))
    .limit(page.limit + 1);
  return pageOfRows(rows, page.limit, (row) => String(row.revision), toDeployment);
}

async function activeOf({ db, tables }: Reading, function_id: string): Promise<DeploymentRow | undefined> {
  const { deployments } = tables;
  const [row] = await db
    .select()
    .from(deployments)
    .where(and(eq(deployments.function_id, function_id), isActive(tables)));
  return row;
}

async function newestOf({ db, tables }: Reading, function_id: string): Promise<DeploymentRow | undefined> {
  const { deployments } = tables;
  const [row] = await db
    .select()
    .from(deployments)
    .where(eq(deployments.function_id, function_id))
    .orderBy(desc(deployments.revision))
    .limit(1);
  return row;
}

/** `previous_version` is what a roll back deploys: deploying the same version again keeps it. */
async function planned(reading: Reading, input: NewDeployment, revision: number): Promise<Deployment> {
  const { id, function_id, pop_selector, target_pop } = input;
  await requireFunction(reading, function_id);
  const version = input.version ?? (await latestPublished(reading, [function_id])).get(function_id);
  if (version === undefined) throw new CodedError('version_not_published');
  const { status } = await findVersion(reading, { function_id, version });
  if (status !== 'published') throw new CodedError('version_not_published');
  const current = (await activeOf(reading, function_id)) ?? (await newestOf(reading, function_id));
  const previous = current?.version === version ? current.previous_version : current?.version;
  return {
    id,
    function_id,
    version,
    previous_version: previous ?? null,
    pop_selector,
    target_pop,
    status: 'active',
    revision,
    created_at: isoTime(reading.nowMs),
  };
}

async function insert(change: Change, input: NewDeployment & { action: string }): Promise<Deployment> {
  const { db, tables, nowMs } = change;
  const { deployments } = tables;
  const { function_id, action, actor } = input;
  const { created_at, ...plan } = await planned(change, input, 0);
  await db
    .update(deployments)
    .set({ status: 'superseded' })
    .where(and(eq(deployments.function_id, function_id), isActive(tables)));
  const { id, version, previous_version, pop_selector, target_pop } = plan;
  const detail = { deployment_id: id, version, previous_version, pop_selector, target_pop };
  const revision = await change.record({ actor, action, target: function_id, detail });
  await db.insert(deployments).values({ ...plan, revision, created_at_ms: nowMs });
  return { ...plan, revision, created_at };
}

async function undeploy(change: Change, input: { function_id: string; actor: string }): Promise<Deployment> {
  const { db, tables } = change;
  const { deployments } = tables;
  const { function_id, actor } = input;
  await requireFunction(change, function_id);
  const active = await activeOf(change, function_id);
  if (active === undefined) throw new CodedError('not_deployed');
  const { id, version } = active;
  await db.update(deployments).set({ status: 'undeployed' }).where(eq(deployments.id, id));
  const detail = { deployment_id: id, version };
  await change.record({ actor, action: 'deployment.end', target: function_id, detail });
  return toDeployment({ ...active, status: 'undeployed' });
}

async function rollBack(
  change: Change,
  input: { id: string; function_id: string; version: string | undefined; actor: string },
): Promise<Deployment> {
  await requireFunction(change, input.function_id);
  const active = await activeOf(change, input.function_id);
  if (active === undefined) throw new CodedError('not_deployed');
  const version = input.version ?? active.previous_version;
  if (version === null) throw new CodedError('nothing_to_roll_back');
  const { pop_selector, target_pop } = active;
  return insert(change, { ...input, version, pop_selector, target_pop, action: 'deployment.roll_back' });
}

function toDeployment(row: DeploymentRow): Deployment {
  const { created_at_ms, ...columns } = row;
  return { ...columns, created_at: isoTime(created_at_ms) };
}
