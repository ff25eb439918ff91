// Migrations: from nothing, from an older database, and the databases that are refused.
import { describe, expect, test } from 'bun:test';
import { Database } from 'bun:sqlite';
import { migrate } from '../../../src/store/sqlite/migrate.ts';
import { sqliteMigrations } from '../../control/harness.ts';

const first = {
  name: '0000_first.sql',
  sql: 'CREATE TABLE a (id TEXT);--> statement-breakpoint\nCREATE TABLE b (id TEXT);',
};
const second = { name: '0001_second.sql', sql: 'ALTER TABLE a ADD COLUMN name TEXT;' };

function tables(sqlite: Database): string[] {
  const rows = sqlite
    .query<{ name: string }, []>("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    .all();
  return rows.map((row) => row.name);
}

describe('Migrations', () => {
  test('apply every statement, in order of the names, once', () => {
    const sqlite = new Database(':memory:');
    expect(migrate(sqlite, [second, first], 1).applied).toEqual([first.name, second.name]);
    expect(migrate(sqlite, [first, second], 2).applied).toEqual([]);
    expect(tables(sqlite)).toEqual(['a', 'b', 'migrations']);
  });

  test('bring an older database up to date and keep its rows', () => {
    const sqlite = new Database(':memory:');
    migrate(sqlite, [first], 1);
    sqlite.run("INSERT INTO a (id) VALUES ('kept')");
    expect(migrate(sqlite, [first, second], 2).applied).toEqual([second.name]);
    expect(sqlite.query('SELECT id, name FROM a').all()).toEqual([{ id: 'kept', name: null }]);
  });

  test('refuse a database that is newer than the program, and leave it alone', () => {
    const sqlite = new Database(':memory:');
    migrate(sqlite, [first, second], 1);
    expect(() => migrate(sqlite, [first], 2)).toThrow('newer than this program');
    expect(sqlite.query('SELECT count(*) AS count FROM migrations').get()).toEqual({ count: 2 });
  });

  test('refuse a database whose migration had other text', () => {
    const sqlite = new Database(':memory:');
    migrate(sqlite, [first], 1);
    expect(() => migrate(sqlite, [{ ...first, sql: `${first.sql} ` }], 2)).toThrow('other text');
  });

  test('leave nothing of a migration that fails half way', () => {
    const sqlite = new Database(':memory:');
    const broken = {
      name: '0001_broken.sql',
      sql: 'CREATE TABLE c (id TEXT);--> statement-breakpoint\nNONSENSE;',
    };
    expect(() => migrate(sqlite, [first, broken], 1)).toThrow();
    expect(tables(sqlite)).toEqual(['a', 'b', 'migrations']);
  });

  test('of this program apply to an empty database, each prefix of them too', () => {
    const all = sqliteMigrations().sort((a, b) => (a.name < b.name ? -1 : 1));
    const sqlite = new Database(':memory:');
    for (let count = 1; count <= all.length; count += 1) migrate(sqlite, all.slice(0, count), count);
    expect(tables(sqlite)).toContain('functions');
  });
});
