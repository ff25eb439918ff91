// Rows of deployments: reading the active ones, and writing what a rule has decided.
import { and, desc, eq, inArray } from 'drizzle-orm';
import { CodedError } from '../../base/errors.ts';
import { CONTROL_BOUNDS } from '../../base/limits/control.ts';
import type { Deployment } from '../../model/deployment.ts';
import type { ActiveDeployment, DeployDecision, MadeDeployment } from '../../model/rules/deploy.ts';
import { type Target, targetKey } from '../../model/target/target.ts';
import type { Change, Reading } from '../database/database.ts';
import { markFunction } from '../marks.ts';
import { isoTime } from '../pages.ts';
import { isActive, type Tables } from '../schema.ts';

export type DeploymentRow = Tables['deployments']['$inferSelect'];

/** Deployments of the same version that are read to find what ran on a target before it. */
const HISTORY_ROWS_MAX = 64;

/** The active deployments of a function, highest rank first. */
export async function activeRowsOf({ db, tables }: Reading, function_id: string): Promise<DeploymentRow[]> {
  const { deployments } = tables;
  return await db
    .select()
    .from(deployments)
    .where(and(eq(deployments.function_id, function_id), isActive(tables)))
    .orderBy(desc(deployments.rank));
}

/** The deployment of a function that was made last, active or not. */
export async function lastRowOf(
  { db, tables: { deployments } }: Reading,
  function_id: string,
): Promise<DeploymentRow | null> {
  const [row] = await db
    .select()
    .from(deployments)
    .where(eq(deployments.function_id, function_id))
    .orderBy(desc(deployments.revision))
    .limit(1);
  return row ?? null;
}

export type WrittenBy = { function_id: string; actor: string; action: string; newId: () => string };

/** Returns the new deployments in the order of the decision. Refuses `limit_reached`. */
export async function writeDecision(
  change: Change,
  { made, ended }: DeployDecision,
  input: WrittenBy & { active: number },
): Promise<Deployment[]> {
  const { db, tables } = change;
  const { deployments } = tables;
  if (input.active - ended.length + made.length > CONTROL_BOUNDS.activeDeploymentsMax) {
    const message =
      `A function has at most ${CONTROL_BOUNDS.activeDeploymentsMax} active deployments: ` +
      'end one (`edge deployments end ID`), or deploy to every node, which ends all others.';
    throw new CodedError('limit_reached', { message });
  }
  if (ended.length > 0)
    await db.update(deployments).set({ status: 'superseded' }).where(inArray(deployments.id, ended));
  const written: Deployment[] = [];
  for (const one of made) written.push(await insert(change, one, input));
  return written;
}

async function insert(change: Change, made: MadeDeployment, input: WrittenBy): Promise<Deployment> {
  const { db, tables, nowMs } = change;
  const { function_id, actor, action, newId } = input;
  const { target, version, from, replaces } = made;
  const previous_version = from === null ? made.previous_version : await ranBefore(change, function_id, made);
  const id = newId();
  const shown = { deployment_id: id, version, previous_version, from, replaces, ...target };
  const revision = await change.record({ actor, action, target: function_id, detail: shown });
  const row: DeploymentRow = {
    id,
    function_id,
    version,
    previous_version,
    from_version: from,
    pop_selector: target.pop_selector,
    target_pop: target.target_pop === null ? null : [...target.target_pop],
    status: 'active',
    revision,
    rank: made.rank ?? revision,
    created_at_ms: nowMs,
  };
  await db.insert(tables.deployments).values(row);
  await markFunction(change, function_id, revision);
  return toDeployment(row);
}

/** What ran on the target before `version` did, so that a rollback can go back further. */
async function ranBefore(
  { db, tables: { deployments } }: Reading,
  function_id: string,
  { target, version, from }: MadeDeployment,
): Promise<string | null> {
  const rows = await db
    .select()
    .from(deployments)
    .where(and(eq(deployments.function_id, function_id), eq(deployments.version, version)))
    .orderBy(desc(deployments.revision))
    .limit(HISTORY_ROWS_MAX);
  const key = targetKey(target);
  const row = rows.find((one) => targetKey(one) === key);
  return row === undefined || row.previous_version === from ? null : row.previous_version;
}

export function toActive(row: DeploymentRow): ActiveDeployment {
  const { id, version, previous_version, from_version, rank, revision } = row;
  return { id, version, previous_version, from: from_version, rank, revision, ...toTarget(row) };
}

export function toTarget({ pop_selector, target_pop }: Target): Target {
  return { pop_selector, target_pop };
}

export function toDeployment(row: DeploymentRow): Deployment {
  const { id, function_id, version, previous_version, from_version, pop_selector, target_pop } = row;
  return {
    id,
    function_id,
    version,
    previous_version,
    from: from_version,
    pop_selector,
    target_pop,
    status: row.status,
    revision: row.revision,
    created_at: isoTime(row.created_at_ms),
  };
}
