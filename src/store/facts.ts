// Everything that desired states are made of, or what of it has changed since a revision.
import { and, asc, type Column, eq, gt, inArray, type SQL } from 'drizzle-orm';
import { CONTROL_TUNING } from '../base/limits/control.ts';
import type { FunctionFacts, VersionFact } from '../model/rules/desired.ts';
import type { Epochs } from '../model/rules/epoch.ts';
import type { FleetChange } from '../model/rules/fleet.ts';
import { type Database, type Reading, revisionOf } from './database/database.ts';
import { marksOf } from './marks.ts';
import { nodeEpochs, nodeFacts } from './nodes/nodes.ts';
import { isActive } from './schema.ts';

export type FactOperations = {
  revision(): Promise<number>;
  /** What has changed after the revision `since`; everything where it is null. */
  read(since: number | null): Promise<FleetChange & { epochs: Epochs }>;
  /** This function alone, and all nodes. */
  ofFunction(id: string): Promise<FleetChange>;
};

export function factOperations(database: Database): FactOperations {
  return {
    revision: () => database.read(revisionOf),
    read: (since) => database.read((reading) => readFacts(reading, since)),
    ofFunction: (id) =>
      database.read(async (reading) => ({
        revision: await revisionOf(reading),
        functions: await functionFacts(reading, eq(reading.tables.functions.id, id)),
        nodes: await nodeFacts(reading),
        deployed: null,
      })),
  };
}

async function readFacts(reading: Reading, since: number | null): Promise<FleetChange & { epochs: Epochs }> {
  const { functions } = reading.tables;
  const marks = await marksOf(reading);
  const isChanged = since === null ? undefined : gt(functions.desired_revision, since);
  return {
    revision: await revisionOf(reading),
    functions: await functionFacts(reading, isChanged),
    nodes: since === null || marks.nodes > since ? await nodeFacts(reading) : null,
    deployed: since !== null && marks.deletions > since ? await deployedIds(reading) : null,
    epochs: await nodeEpochs(reading),
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
  const ids = owners.length > CONTROL_TUNING.idsPerQuery ? null : owners.map((row) => row.id);
  /** By id where they are few: a database finds them by index, and reads a whole table where they are many. */
  const isOwned = (column: Column): SQL | undefined => (ids === null ? undefined : inArray(column, ids));
  const active = await db
    .select()
    .from(deployments)
    .where(and(isOwned(deployments.function_id), isActive(tables)));
  const routed = await db.select().from(routes).where(isOwned(routes.function_id)).orderBy(asc(routes.id));
  const versions = await activeVersions(reading, isOwned(deployments.function_id));
  const deploymentsOf = Map.groupBy(active, (row) => row.function_id);
  const versionsOf = Map.groupBy(versions, (row) => row.function_id);
  const routesOf = Map.groupBy(routed, (row) => row.function_id);
  return owners.map(({ id, project_id, name }) => ({
    id,
    project_id,
    name,
    deployments: deploymentsOf.get(id) ?? [],
    versions: versionsOf.get(id) ?? [],
    routes: routesOf.get(id) ?? [],
  }));
}

/** The versions of active deployments with their artifacts; one that several run is there as often. */
async function activeVersions(
  { db, tables }: Reading,
  condition: SQL | undefined,
): Promise<(VersionFact & { function_id: string })[]> {
  const { artifacts, deployments, versions } = tables;
  const isOfDeployment = and(
    eq(versions.function_id, deployments.function_id),
    eq(versions.version, deployments.version),
  );
  return await db
    .select({
      function_id: versions.function_id,
      version: versions.version,
      settings: versions.settings,
      sha256: artifacts.sha256,
      size_bytes: artifacts.size_bytes,
    })
    .from(deployments)
    .innerJoin(versions, isOfDeployment)
    .innerJoin(artifacts, eq(artifacts.sha256, versions.sha256))
    .where(and(condition, isActive(tables)));
}
