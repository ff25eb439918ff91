// The store: its transactions, the revision, the audit trail, and the bounds on rows.
import { Database } from 'bun:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createManualClock } from '../../src/base/clock.ts';
import { FUNCTION_BOUNDS } from '../../src/base/limits/function.ts';
import { defaultVersionSettings } from '../../src/model/function.ts';
import { canonicalJson } from '../../src/model/protocol.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { sqliteMigrations } from '../control/harness.ts';

const clock = createManualClock(1_000);
const actor = 'admin:test';
type AuditRow = { id: number; hash: string; detail: string };

let dir = '';
let path = '';
let store: Store;
let commits: number[] = [];

function open(): Store {
  commits = [];
  return openStore({
    path,
    migrations: sqliteMigrations(),
    clock,
    onCommit: (revision) => commits.push(revision),
  });
}

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'edge-store-'));
  path = join(dir, 'control.db');
  store = open();
});
afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true, force: true });
});

async function create(name: string, id = `fn_${name}`): Promise<void> {
  const settings = defaultVersionSettings;
  await store.functions.create({
    id,
    project_id: 'default',
    name,
    pop_selector: null,
    version: '1.0.0',
    settings,
    actor,
  });
}

describe('A mutation', () => {
  test('raises the revision by one, leaves an audit row and reaches `onCommit`', async () => {
    await create('a');
    await create('b');
    expect(commits).toEqual([1, 2]);
    expect(await store.facts.revision()).toBe(2);
    const { items } = await store.audit.list({ limit: 10, cursor: null });
    expect(items.map((item) => [item.revision, item.action, item.target, item.actor])).toEqual([
      [2, 'function.create', 'fn_b', actor],
      [1, 'function.create', 'fn_a', actor],
    ]);
  });

  test('that is refused leaves nothing: no row, no revision, no audit row', async () => {
    await create('a');
    await expect(create('a', 'fn_second')).rejects.toMatchObject({ code: 'name_taken' });
    expect(commits).toEqual([1]);
    expect(await store.facts.revision()).toBe(1);
    expect((await store.audit.list({ limit: 10, cursor: null })).items).toHaveLength(1);
    expect((await store.functions.list({ limit: 10, cursor: null })).items).toHaveLength(1);
  });

  test('beside 31 others gets a revision of its own, in order, and a place in the audit trail', async () => {
    const names = Array.from({ length: 32 }, (_, at) => `f${String(at).padStart(2, '0')}`);
    const made = await Promise.allSettled([...names, 'f00'].map((name, at) => create(name, `fn_${at}`)));
    expect(made.map(({ status }) => status)).toEqual([...names.map(() => 'fulfilled' as const), 'rejected']);
    expect(commits).toEqual(names.map((_, at) => at + 1));
    const { items } = await store.audit.list({ limit: 100, cursor: null });
    expect(items.map(({ revision, target }) => [revision, target])).toEqual(
      names.map((_, at) => [at + 1, `fn_${at}`]).toReversed(),
    );
  });

  test('that changes nothing raises nothing', async () => {
    await create('a');
    const route = { host: '*', path: '/a', methods: [], priority: 0, function_id: 'fn_a', actor };
    expect(await store.routes.create({ ...route, id: 'rt_1' })).toMatchObject({ created: true });
    expect(await store.routes.create({ ...route, id: 'rt_2' })).toMatchObject({
      created: false,
      route: { id: 'rt_1' },
    });
    expect(commits).toEqual([1, 2]);
  });

  test('survives a reopening, and the revision goes on from where it was', async () => {
    await create('a');
    await store.close();
    store = open();
    await create('b');
    expect(commits).toEqual([2]);
  });
});

describe('The database', () => {
  test('is written with a write-ahead log', () => {
    const other = new Database(path);
    expect(other.query('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' });
    other.close();
  });

  test('refuses to change or delete the audit trail', async () => {
    await create('a');
    const other = new Database(path);
    expect(() => other.run("UPDATE audit SET actor = 'nobody'")).toThrow('append only');
    expect(() => other.run('DELETE FROM audit')).toThrow('append only');
    other.close();
  });

  test('chains the audit trail, so that an edited row would show', async () => {
    await create('a');
    await create('b');
    const other = new Database(path);
    const rows = other.query<AuditRow, []>('SELECT * FROM audit ORDER BY id').all();
    other.close();
    expect(rows).toHaveLength(2);
    let before = '';
    for (const { id: _, hash, detail, ...row } of rows) {
      const text = `${before}${canonicalJson({ ...row, detail: JSON.parse(detail) as unknown })}`;
      expect(createHash('sha256').update(text).digest('hex')).toBe(hash);
      before = hash;
    }
  });

  test('of a newer program is refused with a sentence', async () => {
    await store.close();
    const migrations = sqliteMigrations();
    expect(() => openStore({ path, migrations: migrations.slice(0, 1), clock, onCommit: () => {} })).toThrow(
      'newer than this program',
    );
    store = open();
  });

  test('takes hostile text as text', async () => {
    const hostile = `'; DROP TABLE functions; -- " \\ \u0000 \u{1f600}`;
    await store.functions.create({
      id: 'fn_a',
      project_id: 'default',
      name: 'a',
      pop_selector: hostile,
      version: '1.0.0',
      settings: { ...defaultVersionSettings, env: { A: hostile } },
      actor,
    });
    expect((await store.functions.get('fn_a')).pop_selector).toBe(hostile);
    expect((await store.versions.get({ function_id: 'fn_a', version: '1.0.0' })).settings.env).toEqual({
      A: hostile,
    });
  });
});

test('A function has a bounded number of versions', async () => {
  await store.close();
  path = ':memory:';
  store = open();
  await create('a');
  const add = () => store.versions.create({ function_id: 'fn_a', version: undefined, settings: {}, actor });
  for (let count = 1; count < FUNCTION_BOUNDS.versionsPerFunctionMax; count += 1) await add();
  await expect(add()).rejects.toMatchObject({ code: 'limit_reached' });
}, 30_000);

describe('Lists', () => {
  const page = { limit: 10, cursor: null };

  async function publish(name: string, version: string, size_bytes: number): Promise<void> {
    const key = { function_id: `fn_${name}`, version };
    if (version !== '1.0.0') await store.versions.create({ ...key, settings: {}, actor });
    await store.versions.publish({ ...key, sha256: `${name}-${version}`, size_bytes, report: null, actor });
  }

  test('of functions have the highest published version of each, by precedence', async () => {
    for (const name of ['a', 'b', 'c']) await create(name);
    for (const version of ['1.9.0', '1.10.0', '1.2.0']) await publish('a', version, 1);
    await store.versions.create({ function_id: 'fn_a', version: '2.0.0', settings: {}, actor });
    await publish('c', '1.0.0', 1);
    const { items } = await store.functions.list(page);
    expect(items.map(({ id, latest_version }) => [id, latest_version])).toEqual([
      ['fn_a', '1.10.0'],
      ['fn_b', null],
      ['fn_c', '1.0.0'],
    ]);
  });

  test('of versions go page by page from the highest, each with the size of its own artifact', async () => {
    await create('a');
    for (const [size, version] of ['1.9.0', '1.10.0', '1.2.0'].entries()) await publish('a', version, size);
    const versions = { function_id: 'fn_a', limit: 2 };
    const first = await store.versions.list({ ...versions, cursor: null });
    const second = await store.versions.list({ ...versions, cursor: first.next_key });
    const shown = [...first.items, ...second.items];
    expect(shown.map(({ version, size_bytes }) => [version, size_bytes])).toEqual([
      ['1.10.0', 1],
      ['1.9.0', 0],
      ['1.2.0', 2],
      ['1.0.0', null],
    ]);
    expect([first.next_key, second.next_key]).toEqual(['1.9.0', null]);
  });
});
