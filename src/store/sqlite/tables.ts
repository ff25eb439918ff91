// The tables on SQLite, exported one by one because the migration generator reads a module's exports.
import { sqliteKit } from './kit.ts';
import { buildTables } from '../schema.ts';

export const {
  projects,
  functions,
  artifacts,
  versions,
  routes,
  nodes,
  joinTokens,
  deployments,
  nodeFunctions,
  tokens,
  idempotency,
  audit,
  counters,
  epochs,
} = buildTables(sqliteKit);
