// The control plane's store: its database with the operations on it, by noun.
import type { Clock } from '../base/clock.ts';
import { CONTROL_TUNING } from '../base/limits/control.ts';
import { type ArtifactOperations, artifactOperations } from './artifacts/rows.ts';
import { type AuditOperations, auditOperations } from './audit.ts';
import { createDatabase, type Database, insideOf, type Migration } from './database/database.ts';
import { type DeploymentOperations, deploymentOperations } from './deployments/deployments.ts';
import { type FactOperations, factOperations } from './facts.ts';
import { type FunctionOperations, functionOperations } from './functions.ts';
import { type IdempotencyOperations, idempotencyOperations } from './idempotency.ts';
import { type NodeOperations, nodeOperations } from './nodes/nodes.ts';
import { type RouteOperations, routeOperations } from './routes.ts';
import { openSqlite } from './sqlite/sqlite.ts';
import { type TokenOperations, tokenOperations } from './tokens.ts';
import { type VersionOperations, versionOperations } from './versions.ts';

/**
 * Every operation is one transaction: rows, the revision and the audit row together, or nothing. It refuses
 * with a `CodedError` whose code its description names.
 */
export type Operations = {
  functions: FunctionOperations;
  versions: VersionOperations;
  artifacts: ArtifactOperations;
  routes: RouteOperations;
  deployments: DeploymentOperations;
  nodes: NodeOperations;
  facts: FactOperations;
  tokens: TokenOperations;
  idempotency: IdempotencyOperations;
  audit: AuditOperations;
};

export type Store = Operations & {
  /**
   * Runs `step` in one transaction: all that its operations write, or nothing where it throws. It awaits
   * nothing but operations: others wait for it to end.
   */
  transact<T>(step: (operations: Operations) => Promise<T>): Promise<T>;
  /** Resolves when the operations asked for so far are done; later ones reject. */
  close(): Promise<void>;
};

/**
 * Opens the SQLite database at `path`, which may be `:memory:`, and brings its tables up to date. `onCommit`
 * gets every raised revision in the tick of its commit. Throws where the database cannot be used.
 */
export function openStore(options: {
  path: string;
  migrations: readonly Migration[];
  clock: Clock;
  onCommit: (revision: number) => void;
}): Store {
  const { path, migrations, clock, onCommit } = options;
  const busyMs = CONTROL_TUNING.databaseBusyMs;
  const driver = openSqlite({ path, migrations, busyMs, clock });
  const database = createDatabase({ driver, clock, onCommit });
  return {
    ...operationsOver(database),
    transact: (step) => database.write((change) => step(operationsOver(insideOf(change)))),
    close: () => database.close(),
  };
}

function operationsOver(database: Database): Operations {
  return {
    functions: functionOperations(database),
    versions: versionOperations(database),
    artifacts: artifactOperations(database),
    routes: routeOperations(database),
    deployments: deploymentOperations(database),
    nodes: nodeOperations(database),
    facts: factOperations(database),
    tokens: tokenOperations(database),
    idempotency: idempotencyOperations(database),
    audit: auditOperations(database),
  };
}
