// Closed operations on deployments: at most one is active per function, and a new one supersedes it.
import { and, desc, eq, lt } from 'drizzle-orm';
import { CodedError } from '../base/errors.ts';
import type { Deployment } from '../model/deployment.ts';
import { isoTime, type Page, type PageRequest, pageOfRows } from './pages.ts';
import { type Change, type Database, type Query, revisionOf } from './database/database.ts';
import { findFunction } from './functions.ts';
import * as tables from './sqlite/tables.ts';
import { findVersion, latestPublished } from './versions.ts';

const { deployments } = tables;

/** `version` undefined: the highest published one. */
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
  /** What `deploy` would make, without making it; same refusals. */
  plan(input: NewDeployment): Promise<Deployment>;
  /** Refuses `function_not_found`, `not_deployed`. */
  undeploy(input: { function_id: string; actor: string }): Promise<Deployment>;
  /**
   * Deploys `version`, or the version before the active one, to where the active deployment goes. Refuses
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

export function deploymentOperations(database: Database): DeploymentOperations {
  return {
    deploy: (input) => database.write((change) => insert(change, { ...input, action: 'deployment.create' })),
    plan: (input) => database.read((db) => planned(db, input, 0, revisionOf(db))),
    undeploy: (input) => database.write((change) => undeploy(change, input)),
    rollBack: (input) => database.write((change) => rollBack(change, input)),
    get: (id) =>
      database.read((db) => {
        const row = db.select().from(deployments).where(eq(deployments.id, id)).get();
        if (row === undefined) throw new CodedError('deployment_not_found');
        return toDeployment(row);
      }),
    list: (page) =>
      database.read((db) => {
        findFunction(db, page.function_id);
        const before = page.cursor === null ? undefined : lt(deployments.revision, Number(page.cursor));
        const rows = db
          .select()
          .from(deployments)
          .where(and(eq(deployments.function_id, page.function_id), before))
          .orderBy(desc(deployments.revision))
          .limit(page.limit + 1)
          .all();
        return pageOfRows(rows, page.limit, (row) => String(row.revision), toDeployment);
      }),
  };
}

type Row = typeof deployments.$inferSelect;

function activeOf(db: Query, function_id: string): Row | undefined {
  const active = and(eq(deployments.function_id, function_id), eq(deployments.status, 'active'));
  return db.select().from(deployments).where(active).get();
}

/** The version before: the active one, or what stood before it where the same version is deployed again. */
function planned(db: Query, input: NewDeployment, nowMs: number, revision: number): Deployment {
  const { id, function_id, pop_selector, target_pop } = input;
  findFunction(db, function_id);
  const version = input.version ?? latestPublished(db, function_id);
  if (version === null) throw new CodedError('version_not_published');
  if (findVersion(db, { function_id, version }).status !== 'published')
    throw new CodedError('version_not_published');
  const current = activeOf(db, function_id) ?? lastOf(db, function_id);
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
    created_at: isoTime(nowMs),
  };
}

function lastOf(db: Query, function_id: string): Row | undefined {
  const newest = desc(deployments.revision);
  return db
    .select()
    .from(deployments)
    .where(eq(deployments.function_id, function_id))
    .orderBy(newest)
    .limit(1)
    .get();
}

function insert(change: Change, input: NewDeployment & { action: string }): Deployment {
  const { tx, nowMs } = change;
  const plan = planned(tx, input, nowMs, 0);
  end(tx, input.function_id, 'superseded');
  const { version, previous_version, pop_selector, target_pop } = plan;
  const detail = { deployment_id: plan.id, version, previous_version, pop_selector, target_pop };
  const revision = change.record({
    actor: input.actor,
    action: input.action,
    target: input.function_id,
    detail,
  });
  const { created_at: _, ...columns } = plan;
  tx.insert(deployments)
    .values({ ...columns, revision, created_at_ms: nowMs })
    .run();
  return { ...plan, revision };
}

function end(tx: Query, function_id: string, status: 'superseded' | 'undeployed'): Row | undefined {
  const active = activeOf(tx, function_id);
  if (active === undefined) return undefined;
  tx.update(deployments).set({ status }).where(eq(deployments.id, active.id)).run();
  return { ...active, status };
}

function undeploy(change: Change, input: { function_id: string; actor: string }): Deployment {
  findFunction(change.tx, input.function_id);
  const ended = end(change.tx, input.function_id, 'undeployed');
  if (ended === undefined) throw new CodedError('not_deployed');
  const detail = { deployment_id: ended.id, version: ended.version };
  change.record({ actor: input.actor, action: 'deployment.end', target: input.function_id, detail });
  return toDeployment(ended);
}

function rollBack(
  change: Change,
  input: { id: string; function_id: string; version: string | undefined; actor: string },
): Deployment {
  findFunction(change.tx, input.function_id);
  const active = activeOf(change.tx, input.function_id);
  if (active === undefined) throw new CodedError('not_deployed');
  const version = input.version ?? active.previous_version;
  if (version === null) throw new CodedError('nothing_to_roll_back');
  const { pop_selector, target_pop } = active;
  return insert(change, { ...input, version, pop_selector, target_pop, action: 'deployment.roll_back' });
}

function toDeployment(row: Row): Deployment {
  const { created_at_ms, ...columns } = row;
  return { ...columns, created_at: isoTime(created_at_ms) };
}
