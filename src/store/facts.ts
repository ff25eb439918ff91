// Everything that desired states are made of, read from one state of the database with its revision.
import { and, asc, eq } from 'drizzle-orm';
import type { FunctionFact, RouteFact, VersionFact } from '../model/rules/desired.ts';
import type { Deployment } from '../model/deployment.ts';
import { type Database, type Reading, revisionOf } from './database/database.ts';
import { isActive } from './schema.ts';

/** Of active deployments only; a selector is its source text. */
export type StoredFacts = {
  revision: number;
  deployments: Pick<Deployment, 'function_id' | 'version' | 'pop_selector' | 'target_pop'>[];
  functions: FunctionFact[];
  versions: VersionFact[];
  routes: RouteFact[];
  /** All nodes that have joined. */
  node_ids: string[];
};

export type FactOperations = {
  revision(): Promise<number>;
  read(): Promise<StoredFacts>;
};

export function factOperations(database: Database): FactOperations {
  return {
    revision: () => database.read(revisionOf),
    read: () => database.read(readFacts),
  };
}

async function readFacts(reading: Reading): Promise<StoredFacts> {
  const { db, tables } = reading;
  const { artifacts, deployments, functions, nodes, routes, versions } = tables;
  const active = isActive(tables);
  const activeFunctions = await db
    .select({ id: functions.id, project_id: functions.project_id, name: functions.name })
    .from(functions)
    .innerJoin(deployments, and(eq(deployments.function_id, functions.id), active));
  const isOfVersion = and(
    eq(deployments.function_id, versions.function_id),
    eq(deployments.version, versions.version),
  );
  const activeVersions = await db
    .select({
      function_id: versions.function_id,
      version: versions.version,
      settings: versions.settings,
      sha256: artifacts.sha256,
      size_bytes: artifacts.size_bytes,
    })
    .from(versions)
    .innerJoin(deployments, and(isOfVersion, active))
    .innerJoin(artifacts, eq(artifacts.sha256, versions.sha256));
  const activeRoutes = await db
    .select({
      id: routes.id,
      function_id: routes.function_id,
      host: routes.host,
      path: routes.path,
      methods: routes.methods,
      priority: routes.priority,
    })
    .from(routes)
    .innerJoin(deployments, and(eq(deployments.function_id, routes.function_id), active))
    .orderBy(asc(routes.id));
  const joined = await db.select({ id: nodes.id }).from(nodes);
  return {
    revision: await revisionOf(reading),
    deployments: await db.select().from(deployments).where(active),
    functions: activeFunctions,
    versions: activeVersions,
    routes: activeRoutes,
    node_ids: joined.map((row) => row.id),
  };
}
