// The control plane's store: the database with its closed operations, by noun.
import type { Clock } from '../base/clock.ts';
import { type AuditOperations, auditOperations } from './audit.ts';
import { openDatabase } from './database/database.ts';
import { type DeploymentOperations, deploymentOperations } from './deployments.ts';
import { type FactOperations, factOperations } from './facts.ts';
import { type FunctionOperations, functionOperations } from './functions.ts';
import { type AnswerOperations, answerOperations } from './idempotency.ts';
import type { Migration } from './sqlite/migrate.ts';
import { type NodeOperations, nodeOperations } from './nodes/nodes.ts';
import { type RouteOperations, routeOperations } from './routes.ts';
import { type TokenOperations, tokenOperations } from './tokens.ts';
import { type VersionOperations, versionOperations } from './versions.ts';

/**
 * Every operation is one transaction: rows, the revision and the audit row together, or nothing. A refusal is
 * an `CodedError` with the code that the operation names.
 */
export type Store = {
  functions: FunctionOperations;
  versions: VersionOperations;
  routes: RouteOperations;
  deployments: DeploymentOperations;
  nodes: NodeOperations;
  facts: FactOperations;
  tokens: TokenOperations;
  answers: AnswerOperations;
  audit: AuditOperations;
  close(): void;
};

/**
 * `onCommit` hears of every raised revision in the tick of its commit. Throws where the database cannot be
 * used.
 */
export function openStore(options: {
  path: string;
  migrations: readonly Migration[];
  clock: Clock;
  onCommit: (revision: number) => void;
}): Store {
  const database = openDatabase(options);
  return {
    functions: functionOperations(database),
    versions: versionOperations(database),
    routes: routeOperations(database),
    deployments: deploymentOperations(database),
    nodes: nodeOperations(database),
    facts: factOperations(database),
    tokens: tokenOperations(database),
    answers: answerOperations(database),
    audit: auditOperations(database),
    close: () => database.close(),
  };
}
