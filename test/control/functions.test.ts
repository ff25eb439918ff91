// Functions and versions over the API: creating, finding, order of versions, deleting.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Fleet, hello, helloAgain, openFleet } from './harness.ts';

let fleet: Fleet;
beforeEach(async () => {
  fleet = await openFleet();
});
afterEach(() => fleet.close());

describe('Creating a function', () => {
  test('returns the function, its first version and an upload URL', async () => {
    const made = await fleet.call('POST', '/api/v1/functions', {
      json: { name: 'hello', owner_project_id: 'shop', memory_pages: 10, env: { A: 'b' } },
    });
    expect(made.status).toBe(201);
    expect(made.at('function')).toMatchObject({
      name: 'hello',
      project_id: 'shop',
      latest_version: null,
      runtime: 'wasm',
    });
    expect(made.at('version')).toMatchObject({
      version: '1.0.0',
      status: 'pending',
      sha256: null,
      settings: {
        entrypoint: 'handle',
        memory_pages: 10,
        max_execution_ms: 500,
        isolation: 'clean',
        env: { A: 'b' },
      },
    });
    expect(made.string('upload_url')).toStartWith('http://control/api/v1/uploads/fn_');
    expect(made.string('expires_at')).toBe('2030-01-01T00:15:00.000Z');
  });

  test('may use a name of another project, but none of its own', async () => {
    const { id } = await fleet.create('hello');
    await fleet.create('hello', { owner_project_id: 'other' });
    const again = await fleet.call('POST', '/api/v1/functions', { json: { name: 'hello' } });
    expect([again.status, again.code]).toEqual([409, 'name_taken']);
    expect(again.at('error.details.function_id')).toBe(id);
  });

  test.each([
    [{}, 'name'],
    [{ name: 'Hello' }, 'name'],
    [{ name: '' }, 'name'],
    [{ name: '../etc' }, 'name'],
    [{ name: "x'; drop table functions; --" }, 'name'],
    [{ name: 'x'.repeat(64) }, 'name'],
    [{ name: 'a\n' }, 'name'],
    [{ name: 7 }, 'name'],
    [{ name: 'a', memory_pages: -1 }, 'memory_pages'],
    [{ name: 'a', memory_pages: 1.5 }, 'memory_pages'],
    [{ name: 'a', memory_pages: 4097 }, 'memory_pages'],
    [{ name: 'a', max_execution_ms: 0 }, 'max_execution_ms'],
    [{ name: 'a', max_execution_ms: '500' }, 'max_execution_ms'],
    [{ name: 'a', entrypoint: '' }, 'entrypoint'],
    [{ name: 'a', version: '1.0' }, 'version'],
    [{ name: 'a', version: '1.0.0+build' }, 'version'],
    [{ name: 'a', isolation: 'shared' }, 'isolation'],
    [{ name: 'a', runtime: 'node' }, 'runtime'],
    [{ name: 'a', env: { '1X': 'a' } }, 'env.1X'],
    [{ name: 'a', env: { X: 1 } }, 'env.X'],
    [{ name: 'a', colour: 'red' }, 'colour'],
    [{ name: 'a', __proto: 1 }, '__proto'],
  ])('refuses %j and names the field', async (json, field) => {
    const refused = await fleet.call('POST', '/api/v1/functions', { json });
    expect([refused.status, refused.code]).toEqual([422, 'validation_failed']);
    expect(refused.at('error.details.fields.0.field')).toBe(field);
    expect((await fleet.call('GET', '/api/v1/functions')).at('items')).toEqual([]);
  });

  test('names every bad field at once, 50 at the most', async () => {
    const wrong = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`field_${index}`, 1]));
    const refused = await fleet.call('POST', '/api/v1/functions', {
      json: { ...wrong, name: 'A', memory_pages: 0 },
    });
    expect(refused.status).toBe(422);
    expect(refused.at('error.details.fields')).toHaveLength(50);
  });

  test('refuses an env that is too large as a whole', async () => {
    const env = Object.fromEntries(Array.from({ length: 5 }, (_, index) => [`V${index}`, 'x'.repeat(8_000)]));
    const refused = await fleet.call('POST', '/api/v1/functions', { json: { name: 'a', env } });
    expect([refused.status, refused.at('error.details.fields.0.field')]).toEqual([422, 'env']);
  });

  test('refuses an invalid selector and says where it is wrong', async () => {
    const json = { name: 'a', pop_selector: "region == 'tokyo' &&" };
    const refused = await fleet.call('POST', '/api/v1/functions', { json });
    expect([refused.status, refused.code]).toEqual([422, 'selector_invalid']);
    expect(refused.at('error.details.start')).toBe(20);
  });
});

describe('Finding functions', () => {
  test('lists them page by page, each once', async () => {
    const made = new Set<string>();
    for (let index = 0; index < 5; index += 1) made.add((await fleet.create(`f${index}`)).id);
    const seen: unknown[] = [];
    let target = '/api/v1/functions?limit=2';
    for (let page = 0; page < 3; page += 1) {
      const answer = await fleet.call('GET', target);
      for (let index = 0; index < 2; index += 1) seen.push(answer.at(`items.${index}.id`));
      target = `/api/v1/functions?limit=2&cursor=${String(answer.at('next_cursor'))}`;
      expect(answer.at('next_cursor') === null).toBe(page === 2);
    }
    expect(new Set(seen.filter((id) => id !== undefined))).toEqual(made);
  });

  test('filters by project and name', async () => {
    await fleet.create('a');
    const { id } = await fleet.create('b', { owner_project_id: 'shop' });
    const found = await fleet.call('GET', '/api/v1/functions?project=shop&name=b');
    expect(found.at('items.0.id')).toBe(id);
    expect(found.at('items.1')).toBeUndefined();
    expect((await fleet.call('GET', '/api/v1/functions?project=shop&name=a')).at('items')).toEqual([]);
  });

  test.each(['cursor=***', 'cursor=', 'limit=-1', 'limit=ten', 'unknown=1', 'name=A'])(
    'refuses %s',
    async (query) => {
      const refused = await fleet.call('GET', `/api/v1/functions?${query}`);
      expect([refused.status, refused.code]).toEqual([422, 'validation_failed']);
    },
  );

  test.each(['fn_unknown', '%00', "'%20or%201=1", '..%2f..%2f', 'x'.repeat(1_000)])(
    'does not find %s',
    async (id) => {
      const refused = await fleet.call('GET', `/api/v1/functions/${id}`);
      expect([refused.status, refused.code]).toEqual([404, 'function_not_found']);
    },
  );
});

describe('Versions', () => {
  test('without a number get the next patch and the settings of the highest version', async () => {
    const { id } = await fleet.create('hello', { version: '1.9.9', memory_pages: 7, env: { A: '1' } });
    const added = await fleet.call('POST', `/api/v1/functions/${id}/versions`, {
      json: { max_execution_ms: 9 },
    });
    expect(added.status).toBe(201);
    expect(added.at('version')).toMatchObject({
      version: '1.9.10',
      settings: { memory_pages: 7, max_execution_ms: 9, env: { A: '1' } },
    });
    expect(added.string('upload_url')).toContain('/1.9.10?');
    const same = await fleet.call('POST', `/api/v1/functions/${id}/versions`, {
      json: { version: '1.9.10' },
    });
    expect([same.status, same.code]).toEqual([409, 'version_exists']);
  });

  test('are listed highest first, by semver precedence and not by letters', async () => {
    const { id } = await fleet.create('hello', { version: '1.2.0' });
    for (const version of ['1.10.0', '2.0.0-rc.1', '1.9.0', '2.0.0']) {
      await fleet.call('POST', `/api/v1/functions/${id}/versions`, { json: { version } });
    }
    const first = await fleet.call('GET', `/api/v1/functions/${id}/versions?limit=3`);
    const next = await fleet.call(
      'GET',
      `/api/v1/functions/${id}/versions?cursor=${first.string('next_cursor')}`,
    );
    const names = [0, 1, 2].map((index) => first.at(`items.${index}.version`));
    expect(names).toEqual(['2.0.0', '2.0.0-rc.1', '1.10.0']);
    expect([next.at('items.0.version'), next.at('items.1.version')]).toEqual(['1.9.0', '1.2.0']);
    expect(next.at('next_cursor')).toBeNull();
  });

  test('have a module report once they are published', async () => {
    const id = await fleet.publish('hello');
    await fleet.call('POST', `/api/v1/functions/${id}/versions`, { json: {} });
    const report = await fleet.call('GET', `/api/v1/functions/${id}/versions/1.0.0/inspect`);
    expect(report.body).toMatchObject({ abi: 'handle', entrypoint: 'handle', size_bytes: hello.byteLength });
    const pending = await fleet.call('GET', `/api/v1/functions/${id}/versions/1.0.1/inspect`);
    expect([pending.status, pending.code]).toEqual([409, 'version_not_published']);
    expect((await fleet.call('GET', `/api/v1/functions/${id}`)).at('latest_version')).toBe('1.0.0');
  });

  test('that do not exist are not found', async () => {
    const { id } = await fleet.create('hello');
    for (const path of [
      `${id}/versions/9.9.9`,
      `${id}/versions/9.9.9/inspect`,
      `${id}/versions/..%2f1.0.0`,
    ]) {
      const missing = await fleet.call('GET', `/api/v1/functions/${path}`);
      expect([missing.status, missing.code]).toEqual([404, 'version_not_found']);
    }
  });
});

describe('Deleting', () => {
  test('a function deletes its versions, its routes and the artifacts that nothing else uses', async () => {
    const id = await fleet.publish('hello');
    const other = await fleet.publish('other');
    const sha256 = (await fleet.call('GET', `/api/v1/functions/${id}/versions/1.0.0`)).string('sha256');
    await fleet.call('POST', '/api/v1/routes', { json: { function_id: id, path: '/hello' } });
    expect((await fleet.call('DELETE', `/api/v1/functions/${id}`)).status).toBe(204);
    expect((await fleet.call('GET', `/api/v1/functions/${id}`)).code).toBe('function_not_found');
    expect((await fleet.call('GET', '/api/v1/routes')).at('items')).toEqual([]);
    const path = join(fleet.dir, 'artifacts', sha256.slice(0, 2), sha256);
    expect(existsSync(path)).toBe(true);
    expect((await fleet.call('GET', `/api/v1/artifacts/${other}/1.0.0`)).status).toBe(200);
    await fleet.call('DELETE', `/api/v1/functions/${other}`);
    expect(existsSync(path)).toBe(false);
  });

  test('a deployed function is refused until it is undeployed', async () => {
    const id = await fleet.publish('hello');
    await fleet.call('POST', `/api/v1/functions/${id}/deploy`, { json: { allow_empty: true } });
    const refused = await fleet.call('DELETE', `/api/v1/functions/${id}`);
    expect([refused.status, refused.code]).toEqual([409, 'function_in_use']);
    await fleet.call('POST', `/api/v1/functions/${id}/undeploy`);
    expect((await fleet.call('DELETE', `/api/v1/functions/${id}`)).status).toBe(204);
  });

  test('a version is refused while it is deployed', async () => {
    const id = await fleet.publish('hello');
    await fleet.call('POST', `/api/v1/functions/${id}/upload`, { body: helloAgain });
    await fleet.call('POST', `/api/v1/functions/${id}/deploy`, { json: { allow_empty: true } });
    const refused = await fleet.call('DELETE', `/api/v1/functions/${id}/versions/1.0.1`);
    expect([refused.status, refused.code]).toEqual([409, 'version_in_use']);
    expect((await fleet.call('DELETE', `/api/v1/functions/${id}/versions/1.0.0`)).status).toBe(204);
    expect((await fleet.call('GET', `/api/v1/functions/${id}/versions/1.0.0`)).code).toBe(
      'version_not_found',
    );
  });

  test('its only version leaves a function that takes the next one', async () => {
    const id = await fleet.publish('hello');
    const versions = `/api/v1/functions/${id}/versions`;
    await fleet.call('DELETE', `${versions}/1.0.0`);
    const named = await fleet.call('POST', versions, { json: { version: '2.0.0', memory_pages: 9 } });
    expect([named.status, named.at('version.settings.memory_pages')]).toEqual([201, 9]);
    await fleet.call('DELETE', `${versions}/2.0.0`);
    const uploaded = await fleet.call('POST', `/api/v1/functions/${id}/upload`, { body: helloAgain });
    expect([uploaded.status, uploaded.at('version')]).toEqual([201, '1.0.0']);
    await fleet.call('DELETE', `${versions}/1.0.0`);
    const next = await fleet.call('POST', versions, { json: {} });
    expect([next.status, next.at('version.version')]).toEqual([201, '1.0.0']);
  });

  test('what does not exist is not found', async () => {
    expect((await fleet.call('DELETE', '/api/v1/functions/fn_x')).code).toBe('function_not_found');
    expect((await fleet.call('DELETE', '/api/v1/functions/fn_x/versions/1.0.0')).code).toBe(
      'function_not_found',
    );
  });
});
