// One consistent reading of everything that desired states are made of, with the revision that it belongs to.
import { and, asc, eq } from 'drizzle-orm';
import type { FunctionFact, RouteFact, VersionFact } from '../model/rules/desired.ts';
import type { Deployment } from '../model/deployment.ts';
import { type Database, type Query, revisionOf } from './database/database.ts';
import * as tables from './sqlite/tables.ts';

const { artifacts, deployments, functions, nodes, routes, versions } = tables;

/** `deployments` are the active ones; selectors are still source text. */
export type StoredFacts = {
  revision: number;
  deployments: Pick<Deployment, 'function_id' | 'version' | 'pop_selector' | 'target_pop'>[];
  functions: FunctionFact[];
  versions: VersionFact[];
  routes: RouteFact[];
  /** Of the nodes that have joined. */
  node_ids: string[];
};

export type FactOperations = {
  revision(): Promise<number>;
  read(): Promise<StoredFacts>;
};

export function factOperations(database: Database): FactOperations {
  return {
    revision: () => database.read((db) => revisionOf(db)),
    read: () => database.read((db) => readFacts(db)),
  };
}

function readFacts(tx: Query): StoredFacts {
  const isActive = eq(deployments.status, 'active');
  const ofActive = and(
    eq(deployments.function_id, versions.function_id),
    eq(deployments.version, versions.version),
  );
  return {
    revision: revisionOf(tx),
    deployments: tx.select().from(deployments).where(isActive).all(),
    functions: tx
      .select({ id: functions.id, project_id: functions.project_id, name: functions.name })
      .from(functions)
      .innerJoin(deployments, and(eq(deployments.function_id, functions.id), isActive))
      .all(),
    versions: tx
      .select({
        function_id: versions.function_id,
        version: versions.version,
        settings: versions.settings,
        sha256: artifacts.sha256,
        size_bytes: artifacts.size_bytes,
      })
      .from(versions)
      .innerJoin(deployments, and(ofActive, isActive))
      .innerJoin(artifacts, eq(artifacts.sha256, versions.sha256))
      .all(),
    node_ids: tx
      .select({ id: nodes.id })
      .from(nodes)
      .all()
      .map((row) => row.id),
    routes: tx
      .select({
        id: routes.id,
        function_id: routes.function_id,
        host: routes.host,
        path: routes.path,
        methods: routes.methods,
        priority: routes.priority,
      })
      .from(routes)
      .innerJoin(deployments, and(eq(deployments.function_id, routes.function_id), isActive))
      .orderBy(asc(routes.id))
      .all(),
  };
}
