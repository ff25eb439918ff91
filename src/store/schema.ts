// The tables of the control plane, written once over a kit of column builders of one database.
import type { Deployment } from '../model/deployment.ts';
import type { VersionSettings } from '../model/function.ts';
import type { Labels } from '../model/names.ts';
import type { EdgeNode } from '../model/node.ts';
import type { ObservedFunction } from '../model/protocol.ts';
import type { Method } from '../model/route.ts';
import type { ModuleReport } from '../model/wasm/report.ts';
import type { Kit } from './sqlite/kit.ts';

/**
 * Property names are column names. Deleting a function takes its versions, routes and deployments with it;
 * deleting a node takes what it reported. Uploads have no table: a presigned URL carries its own expiry and
 * signature.
 */
export function build(kit: Kit): ReturnType<typeof assemble> {
  return assemble(kit);
}

function assemble(kit: Kit) {
  const functions = buildFunctions(kit);
  const nodes = buildNodes(kit);
  return { ...functions, ...nodes, ...buildFleet(kit, { ...functions, ...nodes }), ...buildBooks(kit) };
}

function buildFunctions(kit: Kit) {
  const projects = kit.table('projects', {
    id: kit.text().primaryKey(),
    created_at_ms: kit.integer().notNull(),
  });
  const functions = kit.table(
    'functions',
    {
      id: kit.text().primaryKey(),
      project_id: kit
        .text()
        .notNull()
        .references(() => projects.id),
      name: kit.text().notNull(),
      pop_selector: kit.text(),
      created_at_ms: kit.integer().notNull(),
    },
    (table) => [kit.uniqueIndex('functions_name').on(table.project_id, table.name)],
  );
  const artifacts = kit.table('artifacts', {
    sha256: kit.text().primaryKey(),
    size_bytes: kit.integer().notNull(),
    created_at_ms: kit.integer().notNull(),
  });
  const versions = kit.table(
    'versions',
    {
      function_id: kit
        .text()
        .notNull()
        .references(() => functions.id, { onDelete: 'cascade' }),
      version: kit.text().notNull(),
      status: kit.text().$type<'pending' | 'published'>().notNull(),
      settings: kit.json<VersionSettings>().notNull(),
      sha256: kit.text().references(() => artifacts.sha256),
      report: kit.json<ModuleReport>(),
      created_at_ms: kit.integer().notNull(),
      published_at_ms: kit.integer(),
    },
    (table) => [
      kit.primaryKey({ columns: [table.function_id, table.version] }),
      kit.index('versions_artifact').on(table.sha256),
    ],
  );
  const routes = kit.table(
    'routes',
    {
      id: kit.text().primaryKey(),
      function_id: kit
        .text()
        .notNull()
        .references(() => functions.id, { onDelete: 'cascade' }),
      host: kit.text().notNull(),
      path: kit.text().notNull(),
      shape: kit.text().notNull(),
      methods: kit.json<Method[]>().notNull(),
      priority: kit.integer().notNull(),
      created_at_ms: kit.integer().notNull(),
    },
    (table) => [
      kit.index('routes_place').on(table.host, table.shape, table.priority),
      kit.index('routes_function').on(table.function_id),
    ],
  );
  return { projects, functions, artifacts, versions, routes };
}

function buildNodes(kit: Kit) {
  const nodes = kit.table(
    'nodes',
    {
      id: kit.text().primaryKey(),
      pop_id: kit.text().notNull(),
      labels: kit.json<Labels>().notNull(),
      status: kit.text().$type<EdgeNode['status']>().notNull(),
      edge_version: kit.text().notNull(),
      applied_revision: kit.integer().notNull(),
      applied_digest: kit.text(),
      cpu_percent: kit.real().notNull(),
      mem_bytes: kit.integer().notNull(),
      token_hash: kit.text().notNull(),
      joined_at_ms: kit.integer().notNull(),
      last_heartbeat_at_ms: kit.integer(),
    },
    (table) => [kit.uniqueIndex('nodes_token').on(table.token_hash)],
  );
  const joinTokens = kit.table('join_tokens', {
    hash: kit.text().primaryKey(),
    node_id: kit.text(),
    pop_id: kit.text(),
    created_at_ms: kit.integer().notNull(),
    expires_at_ms: kit.integer().notNull(),
  });
  return { nodes, joinTokens };
}

function buildFleet(kit: Kit, on: ReturnType<typeof buildFunctions> & ReturnType<typeof buildNodes>) {
  const deployments = kit.table(
    'deployments',
    {
      id: kit.text().primaryKey(),
      function_id: kit
        .text()
        .notNull()
        .references(() => on.functions.id, { onDelete: 'cascade' }),
      version: kit.text().notNull(),
      previous_version: kit.text(),
      pop_selector: kit.text(),
      target_pop: kit.json<string[]>(),
      status: kit.text().$type<Deployment['status']>().notNull(),
      revision: kit.integer().notNull(),
      created_at_ms: kit.integer().notNull(),
    },
    (table) => [
      kit
        .uniqueIndex('deployments_active')
        .on(table.function_id)
        .where(kit.sql`status = 'active'`),
      kit.index('deployments_function').on(table.function_id),
    ],
  );
  const nodeFunctions = kit.table(
    'node_functions',
    {
      node_id: kit
        .text()
        .notNull()
        .references(() => on.nodes.id, { onDelete: 'cascade' }),
      function_id: kit
        .text()
        .notNull()
        .references(() => on.functions.id, { onDelete: 'cascade' }),
      version: kit.text().notNull(),
      observed: kit.json<ObservedFunction>().notNull(),
      changed_at_ms: kit.integer().notNull(),
    },
    (table) => [
      kit.primaryKey({ columns: [table.node_id, table.function_id, table.version] }),
      kit.index('node_functions_function').on(table.function_id, table.version),
    ],
  );
  return { deployments, nodeFunctions };
}

function buildBooks(kit: Kit) {
  const tokens = kit.table('tokens', {
    hash: kit.text().primaryKey(),
    role: kit.text().$type<'admin'>().notNull(),
    name: kit.text().notNull(),
    created_at_ms: kit.integer().notNull(),
  });
  const idempotency = kit.table(
    'idempotency',
    {
      id: kit.text().primaryKey(),
      request_digest: kit.text().notNull(),
      status: kit.integer().notNull(),
      sealed_body: kit.text().notNull(),
      expires_at_ms: kit.integer().notNull(),
    },
    (table) => [kit.index('idempotency_expiry').on(table.expires_at_ms)],
  );
  const audit = kit.table('audit', {
    id: kit.serial(),
    at_ms: kit.integer().notNull(),
    revision: kit.integer().notNull(),
    actor: kit.text().notNull(),
    action: kit.text().notNull(),
    target: kit.text().notNull(),
    detail: kit.json<Record<string, unknown>>().notNull(),
    hash: kit.text().notNull(),
  });
  const counters = kit.table('counters', { name: kit.text().primaryKey(), value: kit.integer().notNull() });
  return { tokens, idempotency, audit, counters };
}
