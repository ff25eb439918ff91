// Transactions on SQLite: their order, what they see of each other, and what a failure leaves.
import { Database as Sqlite } from 'bun:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { eq } from 'drizzle-orm';
import { SQLiteSyncDialect } from 'drizzle-orm/sqlite-core';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystemClock } from '../../../src/base/clock.ts';
import { CONTROL_BOUNDS } from '../../../src/base/limits/control.ts';
import type { Driver, Reading } from '../../../src/store/database/database.ts';
import { isActive } from '../../../src/store/schema.ts';
import { openSqlite } from '../../../src/store/sqlite/sqlite.ts';
import { sqliteMigrations } from '../../control/harness.ts';

type Query = Reading['db'];

/** A project named `late` refers to a row that is missing, which SQLite finds out at the COMMIT. */
const failingCommit = {
  name: '9999_failing_commit.sql',
  sql: `CREATE TABLE late (id TEXT REFERENCES projects(id) DEFERRABLE INITIALLY DEFERRED);
--> statement-breakpoint
CREATE TRIGGER fail_late AFTER INSERT ON projects WHEN NEW.id = 'late'
BEGIN INSERT INTO late VALUES ('missing'); END;`,
};

let dir = '';
let path = '';
let driver: Driver;

function open(where = path): Driver {
  const migrations = [...sqliteMigrations(), failingCommit];
  return openSqlite({ path: where, migrations, busyMs: 50, clock: createSystemClock() });
}

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'edge-sqlite-'));
  path = join(dir, 'control.db');
  driver = open();
});
afterEach(async () => {
  await driver.close();
  rmSync(dir, { recursive: true, force: true });
});

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function valueOf(db: Query, name: string): Promise<number | null> {
  const { counters } = driver.tables;
  const [row] = await db.select().from(counters).where(eq(counters.name, name));
  return row?.value ?? null;
}

async function set(db: Query, name: string, value: number): Promise<void> {
  const { counters } = driver.tables;
  await db
    .insert(counters)
    .values({ name, value })
    .onConflictDoUpdate({ target: counters.name, set: { value } });
}

const read = (name: string): Promise<number | null> => driver.read((db) => valueOf(db, name));
const write = (name: string, value: number): Promise<void> =>
  driver.write(
    (db) => set(db, name, value),
    () => {},
  );

/** A write that has set `name` and stays open until `release`. */
function openWrite(
  name: string,
  value: number,
): { release: () => void; done: Promise<void>; isOpen: Promise<void> } {
  const opened = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const done = driver.write(
    async (db) => {
      await set(db, name, value);
      opened.resolve();
      await released.promise;
    },
    () => {},
  );
  return { release: released.resolve, done, isOpen: opened.promise };
}

describe('Writes that are asked for together', () => {
  test('run one after the other, in order, however long each waits', async () => {
    const log: string[] = [];
    const one = (name: string, turns: number): Promise<void> =>
      driver.write(
        async (db) => {
          log.push(`${name} begins`);
          for (let count = 0; count < turns; count += 1) await turn();
          await set(db, name, turns);
          log.push(`${name} ends`);
        },
        () => void log.push(`${name} is committed`),
      );
    await Promise.all([one('a', 3), one('b', 0), one('c', 1)]);
    expect(log).toEqual(
      ['a', 'b', 'c'].flatMap((name) => [`${name} begins`, `${name} ends`, `${name} is committed`]),
    );
  });

  test('lose no update, and readers see every transfer whole or not at all', async () => {
    await write('left', 1_000);
    await write('right', 0);
    let failed = 0;
    const transfer = async (at: number): Promise<void> => {
      await driver.write(
        async (db) => {
          const left = (await valueOf(db, 'left')) ?? 0;
          const right = (await valueOf(db, 'right')) ?? 0;
          await set(db, 'left', left - 1);
          if (at % 3 === 0) await turn();
          if (at % 5 === 0) throw new Error('thrown between two statements');
          await set(db, 'right', right + 1);
        },
        () => {},
      );
    };
    const total = (): Promise<number> =>
      driver.read(async (db) => {
        const left = (await valueOf(db, 'left')) ?? 0;
        await turn();
        return left + ((await valueOf(db, 'right')) ?? 0);
      });
    const totals: Promise<number>[] = [];
    const transfers = Array.from({ length: 100 }, (_, at) => {
      totals.push(total());
      return transfer(at).catch(() => void (failed += 1));
    });
    await Promise.all(transfers);
    expect(new Set(await Promise.all(totals))).toEqual(new Set([1_000]));
    expect([failed, await read('left'), await read('right')]).toEqual([20, 920, 80]);
  });
});

describe('A write', () => {
  test('is heard of in the tick of its commit: nobody sees it before', async () => {
    using other = new Sqlite(path, { readonly: true });
    const query = other.query("SELECT value FROM counters WHERE name = 'a'");
    let isHeard = false;
    const done = driver.write(
      (db) => set(db, 'a', 1),
      () => (isHeard = true),
    );
    while (query.get() === null) {
      expect(isHeard).toBe(false);
      await Promise.resolve();
    }
    expect(isHeard).toBe(true);
    await done;
  });

  test('that throws after an await is rolled back, and what it threw reaches the caller', async () => {
    const refusal = new Error('refused');
    let commits = 0;
    const refused = driver.write(
      async (db) => {
        await set(db, 'a', 1);
        await turn();
        throw refusal;
      },
      () => void (commits += 1),
    );
    const next = write('b', 2);
    await expect(refused).rejects.toBe(refusal);
    await next;
    expect([await read('a'), await read('b'), commits]).toEqual([null, 2, 0]);
  });

  test('whose commit fails is rolled back, and the next one works', async () => {
    let commits = 0;
    const { projects } = driver.tables;
    const failing = driver.write(
      async (db) => {
        await set(db, 'a', 1);
        await db.insert(projects).values({ id: 'late', created_at_ms: 1 });
      },
      () => void (commits += 1),
    );
    const next = write('b', 2);
    await expect(failing).rejects.toMatchObject({ code: 'SQLITE_CONSTRAINT_FOREIGNKEY' });
    await next;
    expect([await read('a'), await read('b'), commits]).toEqual([null, 2, 0]);
  });

  test('whose statement fails says why but quotes no value, and the statement works again', async () => {
    const { tokens } = driver.tables;
    const token = { hash: 'hash-of-a-secret', name: 'a', role: 'admin' as const, created_at_ms: 1 };
    const failure: unknown = await driver
      .write(
        async (db) => {
          await db.insert(tokens).values(token);
          await db.insert(tokens).values(token);
        },
        () => {},
      )
      .catch((thrown: unknown) => thrown);
    expect(String(failure)).toContain('UNIQUE constraint failed: tokens.hash');
    expect(Bun.inspect(failure)).not.toContain('hash-of-a-secret');
    const insertOne = async (db: Query): Promise<void> => void (await db.insert(tokens).values(token));
    await driver.write(insertOne, () => {});
    const rows = await driver.read(async (db) => await db.select().from(tokens));
    expect(rows).toEqual([token]);
  });

  test('that cannot begin is refused, and the next one works', async () => {
    const source = `
      const { Database } = require('bun:sqlite');
      const sqlite = new Database(${JSON.stringify(path)});
      sqlite.run('BEGIN IMMEDIATE');
      process.stdout.write('locked');
      setInterval(() => sqlite, 1_000);`;
    const holder = Bun.spawn([process.execPath, '-e', source], { stdout: 'pipe' });
    try {
      await holder.stdout.getReader().read();
      let hasBegun = false;
      const refused = driver.write(
        async () => (hasBegun = true),
        () => {},
      );
      await expect(refused).rejects.toMatchObject({ code: 'storage_busy' });
      expect([hasBegun, await read('a')]).toEqual([false, null]);
      // What waits behind a transaction that waits for the lock is bounded.
      const many = Array.from({ length: CONTROL_BOUNDS.lockedTransactionsMax + 3 }, () => write('a', 2));
      const ended = await Promise.allSettled([write('a', 2), ...many]);
      expect(ended.every(({ status }) => status === 'rejected')).toBe(true);
    } finally {
      holder.kill('SIGKILL');
      await holder.exited;
    }
    await write('a', 1);
    expect(await read('a')).toBe(1);
  });
});

describe('A read', () => {
  test('beside an open write sees the state before it, without waiting', async () => {
    await write('a', 1);
    const { isOpen, release, done } = openWrite('a', 2);
    await isOpen;
    expect(await read('a')).toBe(1);
    release();
    await done;
    expect(await read('a')).toBe(2);
  });

  test('sees one state, also when a write commits between its queries', async () => {
    await write('a', 1);
    const seen = await driver.read(async (db) => {
      const before = await valueOf(db, 'a');
      await write('a', 2);
      return [before, await valueOf(db, 'a')];
    });
    expect(seen).toEqual([1, 1]);
    expect(await read('a')).toBe(2);
  });

  test('that throws leaves nothing open, so that the next one sees the newest state', async () => {
    const broken = driver.read(async (db) => {
      await valueOf(db, 'a');
      throw new Error('broken');
    });
    await expect(broken).rejects.toThrow('broken');
    await write('a', 1);
    expect(await read('a')).toBe(1);
  });

  test('cannot write', async () => {
    await expect(driver.read((db) => set(db, 'a', 1))).rejects.toThrow('readonly');
    expect(await read('a')).toBeNull();
  });
});

describe('A database in memory', () => {
  test('has one connection: a read waits for the write before it and sees no open one', async () => {
    await driver.close();
    driver = open(':memory:');
    const { isOpen, release, done } = openWrite('a', 1);
    await isOpen;
    const seen: (number | null)[] = [];
    const reading = read('a').then((value) => seen.push(value));
    await turn();
    expect(seen).toEqual([]);
    release();
    await Promise.all([done, reading]);
    expect(seen).toEqual([1]);
  });
});

describe('Closing', () => {
  test('waits for what runs and for what was asked for, and refuses what comes later', async () => {
    const { isOpen, release, done } = openWrite('a', 1);
    const queued = write('b', 2);
    await isOpen;
    let closed = false;
    const closing = driver.close().then(() => (closed = true));
    const later = Promise.allSettled([write('c', 3), read('a')]);
    await turn();
    expect(closed).toBe(false);
    release();
    await Promise.all([done, queued, closing]);
    for (const one of await later) expect(one.status).toBe('rejected');
    driver = open();
    expect([await read('a'), await read('b'), await read('c')]).toEqual([1, 2, null]);
  });

  test('leaves one file, and again is no error', async () => {
    await write('a', 1);
    await driver.close();
    await driver.close();
    expect([existsSync(path), existsSync(`${path}-wal`)]).toEqual([true, false]);
  });
});

test('A file that is no database is refused and left alone', async () => {
  const other = join(dir, 'text');
  await Bun.write(other, 'not a database, and long enough to be told from one: '.repeat(20));
  expect(() => open(other)).toThrow('not a database');
  expect(await Bun.file(other).text()).toStartWith('not a database');
});

test('The active deployment of a function is found by its own index, however many came before it', () => {
  const { sql, params } = new SQLiteSyncDialect().sqlToQuery(isActive(driver.tables));
  expect(params).toEqual([]);
  using other = new Sqlite(path, { readonly: true });
  const plan = other
    .query<{ detail: string }, [string]>(
      `EXPLAIN QUERY PLAN SELECT * FROM deployments WHERE function_id = ? AND ${sql}`,
    )
    .all('f');
  expect(plan.map(({ detail }) => detail)).toEqual([
    'SEARCH deployments USING INDEX deployments_active (function_id=?)',
  ]);
});
