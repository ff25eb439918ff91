// Answers that are kept under idempotency keys: how long, how many, and through which jumps of the clock.
import { Database } from 'bun:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createManualClock, type ManualClock } from '../../src/base/clock.ts';
import { CONTROL_BOUNDS, CONTROL_TUNING } from '../../src/base/limits/control.ts';
import { defaultVersionSettings } from '../../src/model/function.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { sqliteMigrations } from '../control/harness.ts';

const DAY_MS = 86_400_000;
const newFunction = {
  id: 'fn_a',
  project_id: 'default',
  name: 'a',
  pop_selector: null,
  version: '1.0.0',
  settings: defaultVersionSettings,
  actor: 'admin:test',
};

let clock: ManualClock;
let dir = '';
let path = '';
let store: Store;

function open(): Store {
  return openStore({ path, migrations: sqliteMigrations(), clock, onCommit: () => {} });
}

beforeEach(() => {
  clock = createManualClock(Date.parse('2030-01-01T00:00:00Z'));
  dir = mkdtempSync(join(tmpdir(), 'edge-store-'));
  path = join(dir, 'control.db');
  store = open();
});
afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true, force: true });
});

describe('Kept answers', () => {
  const answer = { id: 'k', request_digest: 'd', status: 201, sealed_body: 's' };
  const rows = (): unknown => {
    using other = new Database(path);
    return other.query('SELECT count(*) AS count FROM idempotency').get();
  };

  test('are found until they expire, and swept afterwards', async () => {
    await store.idempotency.put(answer);
    expect(await store.idempotency.get('k')).toEqual(answer);
    await clock.advance(CONTROL_TUNING.idempotencyTtlMs);
    expect(await store.idempotency.get('k')).toBeNull();
    expect(await store.idempotency.sweep()).toBe(false);
    expect(rows()).toEqual({ count: 0 });
  });

  test.each([-DAY_MS, DAY_MS])('live as long as ever while the clock jumps by %p ms', async (jumpMs) => {
    await store.idempotency.put(answer);
    clock.jump(jumpMs);
    await clock.advance(CONTROL_TUNING.idempotencyTtlMs - 1);
    await store.idempotency.sweep();
    expect(await store.idempotency.get('k')).toEqual(answer);
    await clock.advance(1);
    await store.idempotency.sweep();
    expect(rows()).toEqual({ count: 0 });
  });

  test('of a clock that ran a year ahead are gone after a day of the right one', async () => {
    clock.jump(365 * DAY_MS);
    await store.close();
    store = open();
    await store.idempotency.put(answer);
    await store.close();
    clock.jump(-365 * DAY_MS);
    store = open();
    await store.idempotency.sweep();
    expect(await store.idempotency.get('k')).toEqual(answer);
    await clock.advance(CONTROL_TUNING.idempotencyTtlMs);
    await store.idempotency.sweep();
    expect(rows()).toEqual({ count: 0 });
  });

  test('above the bound go, the oldest first, a few at a time', async () => {
    const many = CONTROL_BOUNDS.idempotencyRowsMax + CONTROL_TUNING.sweepRows + 1;
    using other = new Database(path);
    other.run(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${many})
       INSERT INTO idempotency SELECT 'k' || i, 'd', 200, 's', ${clock.nowMs() + 1_000} + i FROM n`,
    );
    expect(await store.idempotency.sweep()).toBe(true);
    expect(rows()).toEqual({ count: CONTROL_BOUNDS.idempotencyRowsMax + 1 });
    expect(await store.idempotency.sweep()).toBe(false);
    expect(rows()).toEqual({ count: CONTROL_BOUNDS.idempotencyRowsMax });
    expect(other.query("SELECT id FROM idempotency WHERE id = 'k1'").get()).toBeNull();
    expect(other.query(`SELECT id FROM idempotency WHERE id = 'k${many}'`).get()).not.toBeNull();
  });

  test('are one per key: a second one is refused and rolls its change back', async () => {
    await store.idempotency.put(answer);
    const twice = store.transact(async (operations) => {
      await operations.functions.create(newFunction);
      await operations.idempotency.put(answer);
    });
    await expect(twice).rejects.toMatchObject({ code: 'overloaded' });
    expect((await store.functions.list({ limit: 5, cursor: null })).items).toEqual([]);
  });
});
