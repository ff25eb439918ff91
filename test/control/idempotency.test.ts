// Idempotency keys: one change per key, the same response every time, and nothing readable at rest.
import { Database } from 'bun:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { NO_FAILPOINTS } from '../../src/base/failpoints/failpoints.ts';
import { CONTROL_TUNING } from '../../src/base/limits/control.ts';
import { checkHere } from '../../src/program/roles/module_check.ts';
import { failpoints, type Fleet, hello, helloAgain, openFleet } from './harness.ts';

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

  test('that is refused leaves nothing: the key is free, also for another body', async () => {
    await fleet.create('hello');
    const refused = await post('/api/v1/functions', { name: 'hello' });
    expect([refused.status, refused.code]).toEqual([409, 'name_taken']);
    expect((await post('/api/v1/functions', { name: 'other' })).status).toBe(201);
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

describe('A DELETE with an idempotency key', () => {
  test('gets its first answer again, also where nothing is left to delete', async () => {
    const { id } = await fleet.create('hello');
    const remove = () =>
      fleet.call('DELETE', `/api/v1/functions/${id}`, { headers: { 'idempotency-key': 'd' } });
    const answers = [await remove(), await remove()];
    expect(answers.map(({ status, text }) => [status, text])).toEqual([
      [204, ''],
      [204, ''],
    ]);
    expect((await fleet.call('DELETE', `/api/v1/functions/${id}`)).code).toBe('function_not_found');
  });
});

type Ask = { method?: string; target: string; json?: unknown };

const deployed = async (id: string, version = '1.0.0'): Promise<string> => {
  const json = { version, allow_empty: true };
  return (await fleet.call('POST', `/api/v1/functions/${id}/deploy`, { json })).string('deployment.id');
};
const deployedAfter = async (id: string): Promise<string> => {
  const uploaded = await fleet.call('POST', `/api/v1/functions/${id}/upload`, { body: helloAgain });
  await deployed(id);
  return await deployed(id, uploaded.string('version'));
};

/** Every mutation that takes a key: makes what it needs, given a function with a published 1.0.0. */
const MUTATIONS: readonly [string, (id: string) => Ask | Promise<Ask>][] = [
  ['a function', () => ({ target: '/api/v1/functions', json: { name: 'other' } })],
  ['a version', (id) => ({ target: `/api/v1/functions/${id}/versions`, json: {} })],
  ['a route', (id) => ({ target: '/api/v1/routes', json: { function_id: id, path: '/hello' } })],
  [
    'a deployment',
    async (id) => {
      await fleet.join('n1');
      return { target: `/api/v1/functions/${id}/deploy`, json: { target_pop: ['pop-1'] } };
    },
  ],
  [
    'a rollback',
    async (id) => {
      await deployedAfter(id);
      return { target: `/api/v1/functions/${id}/rollback`, json: {} };
    },
  ],
  ['the end of a deployment', async (id) => ({ target: `/api/v1/deployments/${await deployed(id)}/end` })],
  [
    'an undeploy',
    async (id) => {
      await deployed(id);
      return { target: `/api/v1/functions/${id}/undeploy` };
    },
  ],
  [
    'labels',
    async () => {
      await fleet.join('n1');
      return { method: 'PATCH', target: '/api/v1/nodes/n1', json: { labels: { spare: true } } };
    },
  ],
  ['a join token', () => ({ target: '/api/v1/nodes/join-tokens', json: { labels: { spare: true } } })],
  ['a deletion', (id) => ({ method: 'DELETE', target: `/api/v1/functions/${id}/versions/1.0.0` })],
];

describe.each(MUTATIONS)('The mutation of %s', (_, ask) => {
  const send = ({ method = 'POST', target, json }: Ask) =>
    fleet.call(method, target, { json, headers: { 'idempotency-key': 'k' } });
  const auditCount = async (): Promise<number> => {
    const { body } = await fleet.call('GET', '/api/v1/audit?limit=200');
    return (body as { items: unknown[] }).items.length;
  };

  test('that fails before its commit leaves nothing, and the same request then succeeds', async () => {
    const asked = await ask(await fleet.publish('hello'));
    fleet = await fleet.reopen({ failpoints: failpoints('mutation_done=fail:SQLITE_FULL') });
    const before = await auditCount();
    expect((await send(asked)).code).toBe('storage_full');
    expect(await auditCount()).toBe(before);
    const done = await send(asked);
    expect([done.status < 300, done.headers.has('idempotency-replayed')]).toEqual([true, false]);
    expect(await auditCount()).toBe(before + 1);
  });

  test('that fails after its commit is answered by the same request', async () => {
    const asked = await ask(await fleet.publish('hello'));
    const before = await auditCount();
    fleet = await fleet.reopen({ failpoints: failpoints('mutation_committed=fail:EIO') });
    expect((await send(asked)).code).toBe('internal');
    fleet = await fleet.reopen({ failpoints: NO_FAILPOINTS });
    const replays = [await send(asked), await send(asked)];
    for (const replay of replays) {
      expect([replay.status < 300, replay.headers.get('idempotency-replayed')]).toEqual([true, 'true']);
    }
    expect(replays[0]?.text).toBe(replays[1]?.text ?? '');
    expect(await auditCount()).toBe(before + 1);
  });
});

describe('An upload with an idempotency key', () => {
  const upload = (id: string, body = hello) =>
    fleet.call('POST', `/api/v1/functions/${id}/upload`, { body, headers: { 'idempotency-key': 'u' } });
  const versionsOf = async (id: string): Promise<unknown[]> => {
    const { body } = await fleet.call('GET', `/api/v1/functions/${id}/versions`);
    return (body as { items: { version: string }[] }).items.map(({ version }) => version);
  };

  test.each(['artifact_kept', 'mutation_done', 'mutation_committed'] as const)(
    'that fails at %s makes one version, however often it is sent',
    async (place) => {
      const id = await fleet.publish('hello');
      fleet = await fleet.reopen({ failpoints: failpoints(`${place}=fail:EIO`) });
      expect((await upload(id, helloAgain)).code).toBe('internal');
      expect(await versionsOf(id)).toEqual(place === 'mutation_committed' ? ['1.0.1', '1.0.0'] : ['1.0.0']);
      const [first, again] = [await upload(id, helloAgain), await upload(id, helloAgain)];
      expect([first.at('version'), again.text]).toEqual(['1.0.1', first.text]);
      expect(await versionsOf(id)).toEqual(['1.0.1', '1.0.0']);
      expect((await upload(id)).code).toBe('idempotency_conflict');
    },
  );
});

describe('A kept answer', () => {
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
