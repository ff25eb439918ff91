// Idempotency keys: one change per key, the same response every time, and nothing readable at rest.
import { Database } from 'bun:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CONTROL_TUNING } from '../../src/base/limits/control.ts';
import { checkHere } from '../../src/program/roles/module_check.ts';
import { type Fleet, hello, openFleet } from './harness.ts';

let fleet: Fleet;
beforeEach(async () => {
  fleet = await openFleet();
});
afterEach(() => fleet.close());

const post = (target: string, json: unknown, key = 'key-1') => {
  return fleet.call('POST', target, { json, headers: { 'idempotency-key': key } });
};
const count = async (): Promise<number> => {
  const listed = await fleet.call('GET', '/api/v1/functions');
  const items = listed.at('items');
  return Array.isArray(items) ? items.length : -1;
};

describe('A POST with an idempotency key', () => {
  test('runs once and gets the same response every time', async () => {
    const first = await post('/api/v1/functions', { name: 'hello' });
    const again = await post('/api/v1/functions', { name: 'hello' });
    expect([first.status, again.status]).toEqual([201, 201]);
    expect(again.text).toBe(first.text);
    expect(again.headers.get('content-type')).toBe(first.headers.get('content-type'));
    expect([first.headers.get('idempotency-replayed'), again.headers.get('idempotency-replayed')]).toEqual([
      null,
      'true',
    ]);
    expect(await count()).toBe(1);
  });

  test('sent five times at once runs once: the others wait for its response', async () => {
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => post('/api/v1/functions', { name: 'hello' })),
    );
    expect(new Set(answers.map((answer) => answer.text)).size).toBe(1);
    expect(answers.filter((answer) => answer.headers.has('idempotency-replayed'))).toHaveLength(4);
    expect(await count()).toBe(1);
  });

  test.each([
    ['another body', '/api/v1/functions', { name: 'other' }],
    ['another path', '/api/v1/routes', { name: 'hello' }],
    ['another query', '/api/v1/functions?x=1', { name: 'hello' }],
  ])('is refused under a used key with %s', async (_, target, json) => {
    await post('/api/v1/functions', { name: 'hello' });
    const refused = await post(target, json);
    expect([refused.status, refused.code]).toEqual([409, 'idempotency_conflict']);
  });

  test('is refused while a request with another body runs under the key', async () => {
    const [first, second] = await Promise.all([
      post('/api/v1/functions', { name: 'hello' }),
      post('/api/v1/functions', { name: 'other' }),
    ]);
    expect([first.status, second.code]).toEqual([201, 'idempotency_conflict']);
  });

  test('gets the same refusal again', async () => {
    const first = await post('/api/v1/functions', { name: 'BAD' });
    const again = await post('/api/v1/functions', { name: 'BAD' });
    expect([first.status, again.status, again.text]).toEqual([422, 422, first.text]);
  });

  test('runs again once the stored response has expired', async () => {
    await post('/api/v1/functions', { name: 'hello' });
    await fleet.clock.advance(CONTROL_TUNING.idempotencyTtlMs);
    expect((await post('/api/v1/functions', { name: 'hello' })).code).toBe('name_taken');
  });

  test('uploads an artifact once', async () => {
    const { id } = await fleet.create('hello');
    const upload = () => {
      return fleet.call('POST', `/api/v1/functions/${id}/upload`, {
        body: hello,
        headers: { 'idempotency-key': 'u' },
      });
    };
    expect((await upload()).at('version')).toBe('1.0.0');
    expect((await upload()).at('version')).toBe('1.0.0');
  });

  test('gets the stored response after a restart of the control plane', async () => {
    const first = await post('/api/v1/functions', { name: 'hello' });
    fleet = await fleet.reopen();
    expect((await post('/api/v1/functions', { name: 'hello' })).text).toBe(first.text);
  });

  test.each(['', ' ', 'a b', 'x'.repeat(256)])('is refused where the key is malformed: %p', async (key) => {
    const refused = await post('/api/v1/functions', { name: 'hello' }, key);
    expect([refused.status, refused.code]).toEqual([422, 'validation_failed']);
  });

  test('and without a valid token stores nothing', async () => {
    const headers = { 'idempotency-key': 'k' };
    const refused = await fleet.call('POST', '/api/v1/functions', {
      json: { name: 'a' },
      token: 'x',
      headers,
    });
    expect(refused.code).toBe('unauthenticated');
    expect((await post('/api/v1/functions', { name: 'a' }, 'k')).status).toBe(201);
  });
});

describe('A stored response', () => {
  test('is unreadable in the database, whatever secret it holds', async () => {
    const first = await post('/api/v1/nodes/join-tokens', {});
    const secret = first.string('join_token');
    const again = await post('/api/v1/nodes/join-tokens', {});
    expect(again.string('join_token')).toBe(secret);
    await fleet.control.close();
    const files = ['control.db'].map((name) => readFileSync(join(fleet.dir, name), 'latin1'));
    for (const text of files) {
      expect(text).not.toContain(secret);
      expect(text).not.toContain(fleet.admin);
    }
    const database = new Database(join(fleet.dir, 'control.db'));
    expect(database.query('SELECT count(*) AS count FROM idempotency').get()).toEqual({ count: 1 });
    database.close();
  });

  test('is never that of an internal failure: the request may succeed later', async () => {
    let failures = 1;
    await fleet.close();
    fleet = await openFleet({
      checkModule: async (bytes, options) => {
        if (failures > 0) {
          failures -= 1;
          throw new Error('broken');
        }
        return checkHere(bytes, options);
      },
    });
    const { id } = await fleet.create('hello');
    const upload = () => {
      return fleet.call('POST', `/api/v1/functions/${id}/upload`, {
        body: hello,
        headers: { 'idempotency-key': 'u' },
      });
    };
    expect((await upload()).code).toBe('internal');
    expect((await upload()).status).toBe(201);
  });
});
