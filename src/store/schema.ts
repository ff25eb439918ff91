// The tables of the control plane, written once over a kit: the column builders of one dialect.
import {
  type BuildColumns,
  type Column,
  type ColumnBuilder,
  type ColumnBuilderBase,
  type HasDefault,
  type IsPrimaryKey,
  type NotNull,
  type SQL,
  sql,
  type Table,
} from 'drizzle-orm';
import type { Position } from '../model/epoch.ts';
import type { Deployment } from '../model/deployment.ts';
import type { VersionSettings } from '../model/function.ts';
import type { Labels } from '../model/names.ts';
import type { EdgeNode } from '../model/node.ts';
import type { ObservedFunction } from '../model/protocol.ts';
import type { Method } from '../model/route.ts';
import type { WallReport } from '../model/wall.ts';
import type { ModuleReport } from '../model/wasm/report.ts';

type Columns = Record<string, ColumnBuilderBase>;
type BuiltColumns<Given extends Columns> = BuildColumns<string, Given, 'common'>;
type BuiltTable<Given extends Columns> = BuiltColumns<Given> &
  Table<{ name: string; schema: undefined; columns: BuiltColumns<Given>; dialect: 'common' }>;

interface Builder<Data> extends ColumnBuilder<{
  name: string;
  dataType: 'custom';
  columnType: string;
  data: Data;
  driverParam: unknown;
  enumValues: undefined;
}> {
  references(column: () => Column, options?: { onDelete: 'cascade' }): this;
}

type IndexBuilder = { on(...columns: [Column, ...Column[]]): { where(condition: SQL): unknown } };

/**
 * The builders of one dialect, with what the schema asks of them. Drizzle types the same methods anew for
 * each dialect, so a kit is cast to this type where it is made.
 */
export type Kit = {
  table<Given extends Columns>(
    name: string,
    columns: Given,
    constraints?: (table: BuiltColumns<Given>) => unknown[],
  ): BuiltTable<Given>;
  text(): Builder<string>;
  /** Whole numbers to 2^53; times are milliseconds since the epoch. */
  integer(): Builder<number>;
  /** A primary key that rises with every row. */
  serial(): HasDefault<IsPrimaryKey<NotNull<Builder<number>>>>;
  real(): Builder<number>;
  /** Any JSON value. */
  json<Value>(): Builder<Value>;
  primaryKey(options: { columns: [Column, ...Column[]] }): unknown;
  index(name: string): IndexBuilder;
  uniqueIndex(name: string): IndexBuilder;
};

/**
 * Property names are column names. Deleting a function takes its versions, routes and deployments with it;
 * deleting a node takes what it reported. `functions.desired_revision` is that of the last change that desired
 * states show. Uploads have no table: a presigned URL carries its own expiry and
 * signature.
 */
export type Tables = ReturnType<typeof assemble>;

export function buildTables(kit: Kit): Tables {
  return assemble(kit);
}

/**
 * Whether a deployment is active, in the words of the index `deployments_active`: a database uses a partial
 * index where it finds the same condition, not where the value is bound.
 */
export function isActive({ deployments }: Tables): SQL {
  return sql`${deployments.status} = 'active'`;
}

function assemble(kit: Kit) {
  const functions = buildFunctions(kit);
  const nodes = buildNodes(kit);
  return { ...functions, ...nodes, ...buildFleet(kit, { ...functions, ...nodes }), ...buildRecords(kit) };
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
      desired_revision: kit.integer().notNull().default(0),
    },
    (table) => [
      kit.uniqueIndex('functions_name').on(table.project_id, table.name),
      kit.index('functions_desired').on(table.desired_revision),
    ],
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
      /** From the join token or an operator: what selectors read. */
      labels: kit.json<Labels>().notNull(),
      /** What the node says of itself; shown, and read by nothing. */
      reported_labels: kit.json<Labels>().notNull().default({}),
      status: kit.text().$type<EdgeNode['status']>().notNull(),
      edge_version: kit.text().notNull(),
      applied_revision: kit.integer().notNull(),
      applied_digest: kit.text(),
      cpu_percent: kit.real().notNull(),
      mem_bytes: kit.integer().notNull(),
      wall: kit.json<WallReport>(),
      token_hash: kit.text().notNull(),
      public_key: kit.text(),
      join_token_hash: kit.text(),
      /** What an operator lets the node leave, up to this revision. */
      rebase: kit.json<Position>(),
      joined_at_ms: kit.integer().notNull(),
      last_heartbeat_at_ms: kit.integer(),
    },
    (table) => [kit.uniqueIndex('nodes_token').on(table.token_hash)],
  );
  const joinTokens = kit.table('join_tokens', {
    hash: kit.text().primaryKey(),
    node_id: kit.text(),
    pop_id: kit.text(),
    labels: kit.json<Labels>().notNull().default({}),
    public_key: kit.text(),
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
      /** The version that a rollback left with this deployment. */
      from_version: kit.text(),
      pop_selector: kit.text(),
      target_pop: kit.json<string[]>(),
      status: kit.text().$type<Deployment['status']>().notNull(),
      revision: kit.integer().notNull(),
      /** Orders the active deployments of a function. */
      rank: kit.integer().notNull().default(0),
      created_at_ms: kit.integer().notNull(),
    },
    (table) => [
      kit
        .index('deployments_active')
        .on(table.function_id)
        .where(sql`status = 'active'`),
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

function buildRecords(kit: Kit) {
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
  const epochs = kit.table('epochs', {
    id: kit.text().primaryKey(),
    /** Null for the current one. */
    ended_revision: kit.integer(),
    created_at_ms: kit.integer().notNull(),
  });
  return { tokens, idempotency, audit, counters, epochs };
}
