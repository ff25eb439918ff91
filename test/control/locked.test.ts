// A lock that another process holds on the database: it stalls mutations for a while, and nothing else.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { CONTROL_TUNING } from '../../src/base/limits/control.ts';
import { type Answer, type Fleet, openFleet, until } from './harness.ts';

let fleet: Fleet;
let holder: Bun.Subprocess<'ignore', 'pipe', 'inherit'>;
beforeEach(async () => {
  fleet = await openFleet();
  const source = `
    const { Database } = require('bun:sqlite');
    const sqlite = new Database(${JSON.stringify(join(fleet.dir, 'control.db'))});
    sqlite.run('BEGIN EXCLUSIVE');
    process.stdout.write('locked');
    setInterval(() => sqlite, 1_000);`;
  holder = Bun.spawn([process.execPath, '-e', source], { stdin: 'ignore', stdout: 'pipe' });
  await holder.stdout.getReader().read();
});
afterEach(async () => {
  await unlock();
  await fleet.close();
});

async function unlock(): Promise<void> {
  holder.kill('SIGKILL');
  await holder.exited;
}

const create = (name: string): Promise<Answer> =>
  fleet.call('POST', '/api/v1/functions', { json: { name }, headers: { 'idempotency-key': name } });

describe('While another process holds the database', () => {
  test('reads are answered at once, and a mutation waits for the lock', async () => {
    let answered = false;
    const mutation = create('hello').finally(() => (answered = true));
    expect((await fleet.call('GET', '/livez', { token: null })).status).toBe(200);
    expect((await fleet.call('GET', '/readyz', { token: null })).status).toBe(200);
    expect((await fleet.call('GET', '/api/v1/functions')).at('items')).toEqual([]);
    await fleet.clock.advance(CONTROL_TUNING.databaseBusyMs - 1);
    expect(answered).toBe(false);
    await unlock();
    await fleet.clock.advance(1);
    expect((await mutation).status).toBe(201);
  });

  test('mutations are refused after a bounded wait, together, and change nothing', async () => {
    let left = 3;
    const mutations = ['one', 'two', 'three'].map((name) => create(name).finally(() => (left -= 1)));
    let waitedMs = 0;
    await until(async () => {
      if (left > 0) await fleet.clock.advance(CONTROL_TUNING.databaseRetryMs);
      waitedMs += CONTROL_TUNING.databaseRetryMs;
      return left === 0;
    });
    expect(waitedMs).toBeWithin(CONTROL_TUNING.databaseBusyMs, 1.5 * CONTROL_TUNING.databaseBusyMs);
    for (const refused of await Promise.all(mutations)) {
      expect([refused.status, refused.code, refused.at('error.retryable')]).toEqual([
        503,
        'storage_busy',
        true,
      ]);
      expect(refused.headers.get('retry-after')).toBe('1');
    }
    await unlock();
    expect((await fleet.call('GET', '/api/v1/functions')).at('items')).toEqual([]);
    expect((await create('one')).status).toBe(201);
  });
});
