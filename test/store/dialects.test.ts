// The store on another dialect: PostgreSQL's builders and queries, with a driver that only listens.
import { describe, expect, test } from 'bun:test';
import { getTableColumns, getTableName } from 'drizzle-orm';
import * as pg from 'drizzle-orm/pg-core';
import { drizzle } from 'drizzle-orm/pg-proxy';
import { createManualClock } from '../../src/base/clock.ts';
import { createDatabase, type Driver, type Reading } from '../../src/store/database/database.ts';
import { deploymentOperations } from '../../src/store/deployments/deployments.ts';
import { buildTables, type Kit } from '../../src/store/schema.ts';
import * as sqliteTables from '../../src/store/sqlite/tables.ts';
import { tokenOperations } from '../../src/store/tokens.ts';

const postgresKit = {
  table: pg.pgTable,
  text: () => pg.text(),
  integer: () => pg.bigint({ mode: 'number' }),
  serial: () => pg.bigserial({ mode: 'number' }).primaryKey(),
  real: () => pg.doublePrecision(),
  json: () => pg.json(),
  primaryKey: pg.primaryKey,
  index: pg.index,
  uniqueIndex: pg.uniqueIndex,
} satisfies Record<keyof Kit, unknown> as unknown as Kit;

const tables = buildTables(postgresKit);

/** Answers every query with no rows, except that the counter of mutations stands at 7. */
function listen(): { driver: Driver; heard: string[] } {
  const heard: string[] = [];
  const db = drizzle(async (text) => {
    heard.push(text);
    return { rows: text.startsWith('insert into "counters"') ? [['revision', 7]] : [] };
  }) as unknown as Reading['db'];
  const driver: Driver = {
    tables,
    read: (step) => step(db),
    async write(step, onCommit) {
      const result = await step(db);
      onCommit();
      return result;
    },
    close: async () => {},
  };
  return { driver, heard };
}

describe('The schema', () => {
  test('has the same tables and columns over both kits', () => {
    const shapeOf = (all: typeof tables): [string, string[]][] =>
      Object.values(all)
        .map((table): [string, string[]] => [getTableName(table), Object.keys(getTableColumns(table))])
        .sort(([a], [b]) => a.localeCompare(b));
    expect(shapeOf(tables)).toEqual(shapeOf({ ...sqliteTables }));
    expect(shapeOf(tables)).toHaveLength(14);
  });

  test('keeps indexes and keys', () => {
    const { deployments, nodeFunctions } = tables as unknown as Record<string, pg.PgTable>;
    if (deployments === undefined || nodeFunctions === undefined) throw new Error('a table is missing');
    const indexes = pg.getTableConfig(deployments).indexes.map(({ config }) => [config.name, config.unique]);
    expect(indexes).toEqual([
      ['deployments_active', false],
      ['deployments_function', false],
    ]);
    expect(pg.getTableConfig(nodeFunctions).primaryKeys[0]?.columns).toHaveLength(3);
  });
});

describe('An operation', () => {
  const clock = createManualClock(1_000);

  test('reads with the queries of the dialect', async () => {
    const { driver, heard } = listen();
    const deployments = deploymentOperations(createDatabase({ driver, clock, onCommit: () => {} }));
    await expect(deployments.undeploy({ function_id: 'f', actor: 'a' })).rejects.toMatchObject({
      code: 'function_not_found',
    });
    expect(heard).toEqual(['select "id" from "functions" where "functions"."id" = $1']);
  });

  test('writes, raises the revision and records, in one transaction', async () => {
    const { driver, heard } = listen();
    const commits: number[] = [];
    const database = createDatabase({ driver, clock, onCommit: (revision) => commits.push(revision) });
    await tokenOperations(database).addAdmin({ hash: 'h', name: 'n', actor: 'a' });
    expect(heard.map((text) => text.split(' ').slice(0, 3).join(' '))).toEqual([
      'insert into "tokens"',
      'insert into "counters"',
      'select "hash" from',
      'insert into "audit"',
    ]);
    expect(heard[1]).toContain('on conflict ("name") do update set "value" = "counters"."value" + 1');
    expect(commits).toEqual([7]);
  });
});
