// The store's operations on deployments: deploy, plan, roll back, end, and the lists of them.
import { and, desc, eq, lt } from 'drizzle-orm';
import { CodedError } from '../../base/errors.ts';
import type { Deployment } from '../../model/deployment.ts';
import {
  afterDecision,
  changesOn,
  decideDeploy,
  decideRollback,
  decideRollbackOn,
  type DeployDecision,
  newestOf,
  type NodeChange,
  type RollbackDecision,
} from '../../model/rules/deploy.ts';
import {
  describeTarget,
  EVERY_NODE,
  type NodeFact,
  requestedTarget,
  type Target,
} from '../../model/target/target.ts';
import { refusalOfTarget, refusalOfTargets, type TargetRefusal } from '../../model/target/target_check.ts';
import type { Change, Database, Reading } from '../database/database.ts';
import { markFunction } from '../marks.ts';
import { nodeFacts } from '../nodes/nodes.ts';
import { type Page, type PageRequest, pageOfRows } from '../pages.ts';
import { isActive } from '../schema.ts';
import { findVersion, latestPublished, nextVersion, requireFunction, VERSION_FIRST } from '../versions.ts';
import {
  activeRowsOf,
  type DeploymentRow,
  lastRowOf,
  toActive,
  toDeployment,
  toTarget,
  writeDecision,
} from './rows.ts';

/** `target` null: the targets that the function has. `from`: only those targets that run this version. */
export type Wanted = { target: Target | null; from: string | null; allow_empty: boolean };

/** Without `version`: the highest published one that is no pre-release. */
export type NewDeployment = Wanted & {
  function_id: string;
  version: string | undefined;
  actor: string;
  newId: () => string;
};

/** Newest first; `changed` is false where the active ones are what was asked for already. */
export type Deployed = { deployments: Deployment[]; changed: boolean };

export type Planned = {
  version: string;
  targets: (Target & { previous_version: string | null })[];
  ends: Deployment[];
  nodes: NodeChange[];
};

export type DeploymentOperations = {
  /**
   * Refuses `function_not_found`, `version_not_found`, `version_not_published`, `selector_invalid`,
   * `no_matching_nodes`, `limit_reached`, and `from_not_active` where nothing runs `from`.
   */
  deploy(input: NewDeployment): Promise<Deployed>;
  /** What `deploy` would change; refuses what it refuses. */
  planDeploy(input: Omit<NewDeployment, 'actor' | 'newId'>): Promise<Planned>;
  /**
   * As `planDeploy`, for a version that need not exist, null for the next one; `function_id` null stands for a
   * function that is still to be made.
   */
  plan(input: Wanted & { function_id: string | null; version: string | null }): Promise<Planned>;
  /**
   * Each target that runs `from` goes to `version`, or to its version before; without `from` the version of
   * the newest deployment is left. With a `target` only its nodes move, from what they run. Refuses
   * `function_not_found`, `not_deployed`, `from_not_active`, `nothing_to_roll_back`, `version_not_found`,
   * `version_not_published`, and a target as `deploy` does.
   */
  rollBack(input: {
    function_id: string;
    version: string | undefined;
    from: string | undefined;
    /** Null for every target that runs what is left. */
    target: Target | null;
    actor: string;
    newId: () => string;
  }): Promise<Deployed>;
  /** Ends every active deployment. Refuses `function_not_found`, `not_deployed`. */
  undeploy(input: { function_id: string; actor: string }): Promise<Deployment[]>;
  /** Ends one; one that is over already is left as it is. Refuses `deployment_not_found`. */
  end(input: { id: string; actor: string }): Promise<Deployment>;
  /** Refuses `deployment_not_found`. */
  get(id: string): Promise<Deployment>;
  /** Newest first; the cursor is a revision. Refuses `function_not_found`. */
  list(page: PageRequest & { function_id: string | null; activeOnly: boolean }): Promise<Page<Deployment>>;
};

export function deploymentOperations(database: Database): DeploymentOperations {
  return {
    deploy: (input) => database.write((change) => deploy(change, input)),
    planDeploy: (input) =>
      database.read(async (reading) => {
        const version = await requirePublished(reading, input.function_id, input.version);
        return planOf(await settle(reading, { ...input, version }));
      }),
    plan: (input) =>
      database.read(async (reading) => {
        const { function_id } = input;
        const next = function_id === null ? VERSION_FIRST : await nextVersion(reading, function_id);
        return planOf(await settle(reading, { ...input, version: input.version ?? next }));
      }),
    rollBack: (input) => database.write((change) => rollBack(change, input)),
    undeploy: (input) => database.write((change) => undeploy(change, input)),
    end: (input) => database.write((change) => end(change, input)),
    get: (id) => database.read(async (reading) => toDeployment(await findRow(reading, id))),
    list: (page) => database.read((reading) => list(reading, page)),
  };
}

async function findRow({ db, tables: { deployments } }: Reading, id: string): Promise<DeploymentRow> {
  const [row] = await db.select().from(deployments).where(eq(deployments.id, id));
  if (row === undefined) throw new CodedError('deployment_not_found');
  return row;
}

async function list(
  reading: Reading,
  page: PageRequest & { function_id: string | null; activeOnly: boolean },
): Promise<Page<Deployment>> {
  const { db, tables } = reading;
  const { deployments } = tables;
  const { function_id, activeOnly, cursor, limit } = page;
  if (function_id !== null) await requireFunction(reading, function_id);
  const conditions = [
    function_id === null ? undefined : eq(deployments.function_id, function_id),
    activeOnly ? isActive(tables) : undefined,
    cursor === null ? undefined : lt(deployments.revision, Number(cursor)),
  ];
  const rows = await db
    .select()
    .from(deployments)
    .where(and(...conditions))
    .orderBy(desc(deployments.revision))
    .limit(limit + 1);
  return pageOfRows(rows, limit, (row) => String(row.revision), toDeployment);
}

/** What a deploy decides, with the rows that it found. Null where every target is as `from` asks already. */
type Settled = {
  version: string;
  rows: DeploymentRow[];
  decision: DeployDecision | null;
  nodes: NodeFact[];
};

async function settle(
  reading: Reading,
  input: Wanted & { function_id: string | null; version: string },
): Promise<Settled> {
  const { function_id, version, target, from, allow_empty: allowEmpty } = input;
  if (function_id !== null) await requireFunction(reading, function_id);
  const rows = function_id === null ? [] : await activeRowsOf(reading, function_id);
  const nodes = await nodeFacts(reading);
  const active = rows.map(toActive);
  if (from !== null) {
    const outcome =
      target === null
        ? decideRollback(active, { version, from })
        : decideRollbackOn(active, { target, nodes, version, from });
    return { version, rows, nodes, decision: decisionOf(outcome) };
  }
  const fallback = function_id === null ? EVERY_NODE : await fallbackOf(reading, function_id);
  const last = function_id === null ? null : await lastRowOf(reading, function_id);
  const decision = decideDeploy(active, { version, target, fallback, nodes, last });
  const targets = decision.made.map((made) => made.target);
  const [only] = targets;
  const isNew = target !== null || active.length === 0;
  if (isNew && only !== undefined) refuse(refusalOfTarget(only, nodes, { allowEmpty }));
  else refuse(refusalOfTargets(targets, nodes, { allowEmpty }));
  return { version, rows, nodes, decision };
}

/** The function's own selector, else every node. */
async function fallbackOf({ db, tables: { functions } }: Reading, id: string): Promise<Target> {
  const [row] = await db.select().from(functions).where(eq(functions.id, id));
  return requestedTarget({ pop_selector: row?.pop_selector ?? undefined }) ?? EVERY_NODE;
}

function refuse(refusal: TargetRefusal | null): void {
  if (refusal === null) return;
  const { code, message, details } = refusal;
  throw new CodedError(code, details === undefined ? { message } : { message, details });
}

/** Refuses `version_not_found`, `version_not_published`. */
async function requirePublished(
  reading: Reading,
  function_id: string,
  asked: string | undefined,
): Promise<string> {
  await requireFunction(reading, function_id);
  const version = asked ?? (await latestPublished(reading, [function_id])).get(function_id);
  if (version === undefined) {
    const message = 'No version is published, or pre-releases only: upload one, or name the version.';
    throw new CodedError('version_not_published', { message });
  }
  const { status } = await findVersion(reading, { function_id, version });
  if (status !== 'published') throw new CodedError('version_not_published');
  return version;
}

async function deploy(change: Change, input: NewDeployment): Promise<Deployed> {
  const version = await requirePublished(change, input.function_id, input.version);
  const { rows, decision } = await settle(change, { ...input, version });
  return await write(
    change,
    { rows, decision, version, from: input.from },
    { ...input, action: 'deployment.create' },
  );
}

function planOf({ version, rows, nodes, decision }: Settled): Planned {
  const { made, ended } = decision ?? { made: [], ended: [] };
  const active = rows.map(toActive);
  const rank = (newestOf(active)?.revision ?? 0) + 1;
  return {
    version,
    targets: made.map(({ target, previous_version }) => ({ ...toTarget(target), previous_version })),
    ends: rows.filter((row) => ended.includes(row.id)).map(toDeployment),
    nodes: changesOn(nodes, active, afterDecision(active, { made, ended }, rank)),
  };
}

async function rollBack(
  change: Change,
  input: Parameters<DeploymentOperations['rollBack']>[0],
): Promise<Deployed> {
  const { function_id } = input;
  await requireFunction(change, function_id);
  const rows = await activeRowsOf(change, function_id);
  if (rows.length === 0) throw new CodedError('not_deployed');
  const { version = null, from = null, target } = input;
  const active = rows.map(toActive);
  const nodes = target === null ? [] : await nodeFacts(change);
  if (target !== null) refuse(refusalOfTarget(target, nodes, { allowEmpty: false }));
  const outcome =
    target === null
      ? decideRollback(active, { version, from })
      : decideRollbackOn(active, { target, nodes, version, from });
  const decision = decisionOf(outcome);
  for (const made of decision?.made ?? []) await requireKept(change, function_id, made.version);
  const left = { rows, decision, version, from: outcome.from };
  return await write(change, left, { ...input, action: 'deployment.roll_back' });
}

/** As `requirePublished`, with a sentence that names the version. */
async function requireKept(change: Change, function_id: string, version: string): Promise<void> {
  try {
    await requirePublished(change, function_id, version);
  } catch (failure) {
    if (!(failure instanceof CodedError) || failure.code !== 'version_not_found') throw failure;
    const message = `There is no version ${version} to go back to: name one that is there.`;
    throw new CodedError('version_not_found', { message });
  }
}

/** Refuses `from_not_active` and `nothing_to_roll_back`. */
function decisionOf(outcome: RollbackDecision): DeployDecision | null {
  const { from } = outcome;
  if (outcome.kind === 'not_active') {
    const message = `No deployment runs ${from}, and none has left it: \`edge deployments NAME\` lists them.`;
    throw new CodedError('from_not_active', { message });
  }
  if (outcome.kind === 'nowhere') {
    const message = `The function runs on no node of ${describeTarget(outcome.target)}: deploy it there first.`;
    throw new CodedError('not_deployed', { message });
  }
  if (outcome.kind === 'nothing_before') {
    const where = describeTarget(outcome.target);
    const message = `Nothing ran on ${where} before ${from}: name a version, or end that deployment.`;
    throw new CodedError('nothing_to_roll_back', { message });
  }
  return outcome.kind === 'moves' ? outcome.decision : null;
}

/** Without a decision: the active deployments that are as asked. */
async function write(
  change: Change,
  found: {
    rows: DeploymentRow[];
    decision: DeployDecision | null;
    version: string | null;
    from: string | null;
  },
  by: { function_id: string; actor: string; action: string; newId: () => string },
): Promise<Deployed> {
  const { rows, decision, version, from } = found;
  if (decision === null) {
    const alike = rows.filter((row) => row.from_version === from || row.version === version);
    return { deployments: newestFirst(alike.map(toDeployment)), changed: false };
  }
  const made = await writeDecision(change, decision, { ...by, active: rows.length });
  return { deployments: newestFirst(made), changed: true };
}

function newestFirst(deployments: readonly Deployment[]): Deployment[] {
  return [...deployments].sort((a, b) => b.revision - a.revision);
}

async function undeploy(
  change: Change,
  input: { function_id: string; actor: string },
): Promise<Deployment[]> {
  const { function_id, actor } = input;
  await requireFunction(change, function_id);
  const rows = await activeRowsOf(change, function_id);
  if (rows.length === 0) throw new CodedError('not_deployed');
  const ended: Deployment[] = [];
  for (const row of rows) ended.push(await endRow(change, row, { status: 'undeployed', actor }));
  return newestFirst(ended);
}

async function end(change: Change, input: { id: string; actor: string }): Promise<Deployment> {
  const row = await findRow(change, input.id);
  if (row.status !== 'active') return toDeployment(row);
  return await endRow(change, row, { status: 'ended', actor: input.actor });
}

async function endRow(
  change: Change,
  row: DeploymentRow,
  { status, actor }: { status: 'ended' | 'undeployed'; actor: string },
): Promise<Deployment> {
  const { db, tables } = change;
  const { id, function_id, version } = row;
  await db.update(tables.deployments).set({ status }).where(eq(tables.deployments.id, id));
  const detail = { deployment_id: id, version, ...toTarget(row) };
  const revision = await change.record({ actor, action: 'deployment.end', target: function_id, detail });
  await markFunction(change, function_id, revision);
  return toDeployment({ ...row, status });
}
