// A database of an earlier release: what was deployed goes on as it was, on the same nodes.
import { Database } from 'bun:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createManualClock } from '../../../src/base/clock.ts';
import { defaultVersionSettings } from '../../../src/model/function.ts';
import { Fleet } from '../../../src/model/rules/fleet.ts';
import type { WallReport } from '../../../src/model/wall.ts';
import { migrate } from '../../../src/store/sqlite/migrate.ts';
import { openStore, type Store } from '../../../src/store/store.ts';
import { sqliteMigrations } from '../../control/harness.ts';

/** The last migrations of releases before deployments by target, and of those the ones whose nodes have a key. */
const LAST_BEFORE = [
  '0001_audit_append_only.sql',
  '0002_nodes_join_again.sql',
  '0003_node_walls.sql',
] as const;
type LastBefore = (typeof LAST_BEFORE)[number];

const WALL: WallReport = [{ part: 'seccomp', state: 'missing', reason: 'an old kernel' }];

let dir = '';
let store: Store;

function openUpgraded(last: LastBefore): void {
  dir = mkdtempSync(join(tmpdir(), 'edge-upgrade-'));
  const path = join(dir, 'control.db');
  writeEarlierDatabase(path, last);
  store = openStore({
    path,
    migrations: sqliteMigrations(),
    clock: createManualClock(9_000),
    onCommit: () => {},
  });
}
afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true, force: true });
});

/** Three functions: on every node, by selector with a history, and by pops; one deployment each is active. */
function writeEarlierDatabase(path: string, last: LastBefore): void {
  const sqlite = new Database(path);
  migrate(
    sqlite,
    sqliteMigrations().filter(({ name }) => name <= last),
    1,
  );
  const insert = (table: string, row: Record<string, string | number | null>): void => {
    const names = Object.keys(row);
    const marks = names.map(() => '?').join(', ');
    sqlite.run(`INSERT INTO ${table} (${names.join(', ')}) VALUES (${marks})`, Object.values(row));
  };
  insert('projects', { id: 'default', created_at_ms: 1 });
  insert('artifacts', { sha256: 'a'.repeat(64), size_bytes: 100, created_at_ms: 1 });
  const settings = JSON.stringify(defaultVersionSettings);
  for (const name of ['every', 'asia', 'pops']) {
    insert('functions', {
      id: `fn_${name}`,
      project_id: 'default',
      name,
      pop_selector: null,
      created_at_ms: 1,
    });
    for (const version of ['1.0.0', '1.1.0']) {
      const artifact = {
        settings,
        sha256: 'a'.repeat(64),
        report: null,
        created_at_ms: 1,
        published_at_ms: 1,
      };
      insert('versions', { function_id: `fn_${name}`, version, status: 'published', ...artifact });
    }
  }
  const deployment = (name: string, revision: number, given: Record<string, string | null>): void =>
    insert('deployments', {
      id: `dep_${revision}`,
      function_id: `fn_${name}`,
      version: '1.0.0',
      previous_version: null,
      pop_selector: null,
      target_pop: null,
      status: 'active',
      revision,
      created_at_ms: revision,
      ...given,
    });
  deployment('every', 5, {});
  deployment('asia', 6, { status: 'superseded' });
  deployment('asia', 7, {
    version: '1.1.0',
    previous_version: '1.0.0',
    pop_selector: "region == 'asia' && disk < 30",
  });
  deployment('pops', 8, { target_pop: '["fra","nrt"]' });
  for (const [id, pop, region] of [
    ['n1', 'nrt', 'asia'],
    ['n2', 'fra', 'europe'],
    ['n3', 'lhr', 'europe'],
  ] as const) {
    const figures = {
      edge_version: '0.1.0',
      applied_revision: 8,
      applied_digest: null,
      cpu_percent: 0,
      mem_bytes: 0,
    };
    const times = { joined_at_ms: 1, last_heartbeat_at_ms: 2 };
    const labels = JSON.stringify({ region, disk: 20 });
    const key =
      last === '0001_audit_append_only.sql' ? {} : { public_key: `key-${id}`, join_token_hash: null };
    const wall = last === '0003_node_walls.sql' ? { wall: JSON.stringify(WALL) } : {};
    const row = { id, pop_id: pop, labels, status: 'online', token_hash: id, ...figures, ...times };
    insert('nodes', { ...row, ...key, ...wall });
  }
  for (const hash of ['h', 'h2'])
    insert('join_tokens', { hash, node_id: null, pop_id: null, created_at_ms: 1, expires_at_ms: 99_000 });
  insert('counters', { name: 'revision', value: 8 });
  sqlite.close();
}

async function served(): Promise<string[]> {
  const fleet = new Fleet();
  fleet.update(await store.facts.read(null));
  return ['n1', 'n2', 'n3'].map((id) => {
    const functions = fleet.desiredOf(id)?.set.desired.functions ?? [];
    return `${id}: ${functions.map((one) => `${one.name} ${one.version}`).join(', ')}`;
  });
}

describe.each(LAST_BEFORE)('A database of the release that ended with %s', (last) => {
  beforeEach(() => openUpgraded(last));

  test('has the same versions on the same nodes', async () => {
    expect(await served()).toEqual([
      'n1: asia 1.1.0, every 1.0.0, pops 1.0.0',
      'n2: every 1.0.0, pops 1.0.0',
      'n3: every 1.0.0',
    ]);
  });

  test('keeps the labels that its nodes had, and takes its join tokens', async () => {
    const { items } = await store.nodes.list({ limit: 10, cursor: null });
    expect(items.map(({ labels, reported_labels }) => [labels, reported_labels])).toEqual(
      ['asia', 'europe', 'europe'].map((region) => [
        { region, disk: 20 },
        { region, disk: 20 },
      ]),
    );
    const node = { node_id: 'n4', pop_id: 'p', labels: {}, edge_version: '0.1.0', public_key: 'key-n4' };
    expect((await store.nodes.join({ ...node, join_token_hash: 'h', token_hash: 't' })).labels).toEqual({});
  });

  test('keeps the keys and the walls that its nodes had', async () => {
    const { items } = await store.nodes.list({ limit: 10, cursor: null });
    const wall = last === '0003_node_walls.sql' ? WALL : null;
    expect(items.map((node) => node.wall)).toEqual([wall, wall, wall]);
    const again = { node_id: 'n1', pop_id: 'nrt', labels: {}, edge_version: '0.1.0', public_key: 'key-n1' };
    const joined = store.nodes.join({ ...again, join_token_hash: 'h2', token_hash: 't2' });
    if (last === '0001_audit_append_only.sql')
      await expect(joined).rejects.toMatchObject({ code: 'node_id_taken' });
    else expect((await joined).labels).toEqual({ region: 'asia', disk: 20 });
  });

  test('takes deploys, ends and rollbacks of what it holds', async () => {
    let made = 0;
    const by = { actor: 'admin:test', newId: () => `dep_new${(made += 1)}` };
    const target = { pop_selector: null, target_pop: ['nrt', 'fra'] };
    const wanted = { target, from: null, allow_empty: false, ...by };
    await store.deployments.deploy({ function_id: 'fn_pops', version: '1.1.0', ...wanted });
    await store.deployments.rollBack({
      function_id: 'fn_asia',
      version: undefined,
      from: undefined,
      target: null,
      ...by,
    });
    await store.deployments.end({ id: 'dep_5', actor: 'admin:test' });
    const active = await store.deployments.list({
      limit: 9,
      cursor: null,
      function_id: 'fn_pops',
      activeOnly: true,
    });
    expect(active.items.map(({ version, previous_version }) => [version, previous_version])).toEqual([
      ['1.1.0', '1.0.0'],
    ]);
    expect(await served()).toEqual(['n1: asia 1.0.0, pops 1.1.0', 'n2: pops 1.1.0', 'n3: ']);
  });
});
