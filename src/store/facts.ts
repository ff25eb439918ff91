// Everything that desired states are made of, or what of it has changed since a revision.
import { and, asc, type Column, eq, gt, type SQL } from 'drizzle-orm';
import type { FunctionFacts, VersionFact } from '../model/rules/desired.ts';
import type { FleetChange } from '../model/rules/fleet.ts';
import { type Database, type Reading, revisionOf } from './database/database.ts';
import { marksOf } from './marks.ts';
import { nodeFacts } from './nodes/nodes.ts';
import { isActive } from './schema.ts';

export type FactOperations = {
  revision(): Promise<number>;
  /** What has changed after the revision `since`; everything where it is null. */
  read(since: number | null): Promise<FleetChange>;
};

export function factOperations(database: Database): FactOperations {
  return {
    revision: () => database.read(revisionOf),
    read: (since) => database.read((reading) => readFacts(reading, since)),
  };
}

async function readFacts(reading: Reading, since: number | null): Promise<FleetChange> {
  const { functions } = reading.tables;
  const marks = await marksOf(reading);
  const isChanged = since === null ? undefined : gt(functions.desired_revision, since);
  return {
    revision: await revisionOf(reading),
    functions: await functionFacts(reading, isChanged),
    nodes: since === null || marks.nodes > since ? await nodeFacts(reading) : null,
    deployed: since !== null && marks.deletions > since ? await deployedIds(reading) : null,
  };
}

async function deployedIds({ db, tables }: Reading): Promise<string[]> {
  const { deployments } = tables;
  const rows = await db.select({ id: deployments.function_id }).from(deployments).where(isActive(tables));
  return rows.map((row) => row.id);
}

/** Of the functions that fulfil the condition; those without a deployment are among them. */
async function functionFacts(reading: Reading, condition: SQL | undefined): Promise<FunctionFacts[]> {
  const { db, tables } = reading;
  const { deployments, functions, routes } = tables;
  const owners = await db.select().from(functions).where(condition);
  if (owners.length === 0) return [];
  const ofOwner = (column: Column): SQL | undefined => and(eq(functions.id, column), condition);
  const active = await db
    .select({ row: deployments })
    .from(deployments)
    .innerJoin(functions, ofOwner(deployments.function_id))
    .where(isActive(tables));
  const routed = await db
    .select({ row: routes })
    .from(routes)
    .innerJoin(functions, ofOwner(routes.function_id))
    .orderBy(asc(routes.id));
  const deploymentsOf = Map.groupBy(active, ({ row }) => row.function_id);
  const versionsOf = Map.groupBy(await activeVersions(reading, condition), (row) => row.function_id);
  const routesOf = Map.groupBy(routed, ({ row }) => row.function_id);
  return owners.map(({ id, project_id, name }) => ({
    id,
    project_id,
    name,
    deployments: (deploymentsOf.get(id) ?? []).map(({ row }) => row),
    versions: versionsOf.get(id) ?? [],
    routes: (routesOf.get(id) ?? []).map(({ row }) => row),
  }));
}

/** The versions of active deployments with their artifacts; one that several run is there as often. */
async function activeVersions(
  { db, tables }: Reading,
  condition: SQL | undefined,
): Promise<(VersionFact & { function_id: string })[]> {
  const { artifacts, deployments, functions, versions } = tables;
  const isOfVersion = and(
    eq(deployments.function_id, versions.function_id),
    eq(deployments.version, versions.version),
  );
  return await db
    .select({
      function_id: versions.function_id,
      version: versions.version,
      settings: versions.settings,
      sha256: artifacts.sha256,
      size_bytes: artifacts.size_bytes,
    })
    .from(versions)
    .innerJoin(deployments, and(isOfVersion, isActive(tables)))
    .innerJoin(functions, and(eq(functions.id, versions.function_id), condition))
    .innerJoin(artifacts, eq(artifacts.sha256, versions.sha256));
}
