// Who may have routes on a host: the project of the first route on it, and nobody else.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { type Answer, type Fleet, openFleet } from './harness.ts';

let fleet: Fleet;
beforeEach(async () => {
  fleet = await openFleet();
});
afterEach(() => fleet.close());

const addRoute = (function_id: string, json: Record<string, unknown>): Promise<Answer> =>
  fleet.call('POST', '/api/v1/routes', { json: { function_id, ...json } });

async function ownedBy(owner_project_id: string, name = 'site'): Promise<string> {
  return (await fleet.create(name, { owner_project_id })).id;
}

describe('A host belongs to the project of the first route on it', () => {
  const taken = { host: 'shop.example.com', path: '/pay', methods: ['GET'] };

  test.each([
    ['the same place', {}],
    ['another path', { path: '/elsewhere' }],
    ['the path of a longer prefix', { path: '/*' }],
    ['a path below', { path: '/pay/now' }],
    ['a higher priority on the same path', { priority: 1_000 }],
    ['another method', { methods: ['POST'] }],
    ['every method', { methods: [] }],
    ['a wildcard over it', { host: '*.example.com' }],
    ['a wildcard further up', { host: '*.com', priority: 5 }],
  ])('another project is refused %s', async (_, change) => {
    const [owner, other] = [await ownedBy('shop'), await ownedBy('thief')];
    expect((await addRoute(owner, taken)).status).toBe(201);
    const refused = await addRoute(other, { ...taken, ...change });
    expect([refused.status, refused.code]).toEqual([409, 'host_taken']);
    expect(refused.text).not.toContain('shop"');
    const own = await addRoute(await ownedBy('shop', 'second'), { ...taken, ...change, path: '/own' });
    expect(own.status).toBe(201);
  });

  test.each([
    ['a host under its wildcard', 'pay.shop.example.com'],
    ['a host far under its wildcard', 'a.b.shop.example.com'],
    ['a wildcard under its wildcard', '*.pay.shop.example.com'],
    ['its wildcard', '*.shop.example.com'],
    ['a wildcard over its wildcard', '*.example.com'],
  ])('another project is refused %s', async (_, host) => {
    const [owner, other] = [await ownedBy('shop'), await ownedBy('thief')];
    expect((await addRoute(owner, { host: '*.shop.example.com', path: '/' })).status).toBe(201);
    const refused = await addRoute(other, { host, path: '/other' });
    expect([refused.status, refused.code]).toEqual([409, 'host_taken']);
  });

  test.each([
    ['a sibling', 'other.example.com'],
    ['a host that ends alike', 'myshop.example.com'],
    ['the host above', 'example.com'],
    ['a wildcard beside', '*.shop.example.org'],
  ])('another project may have %s', async (_, host) => {
    const [owner, other] = [await ownedBy('shop'), await ownedBy('neighbour')];
    await addRoute(owner, { host: '*.shop.example.com', path: '/' });
    await addRoute(owner, { host: 'shop.example.com', path: '/' });
    expect((await addRoute(other, { host, path: '/' })).status).toBe(201);
  });

  test('until its last route there is gone', async () => {
    const [owner, other] = [await ownedBy('shop'), await ownedBy('next')];
    const first = await addRoute(owner, taken);
    const second = await addRoute(owner, { ...taken, path: '/other' });
    await fleet.call('DELETE', `/api/v1/routes/${first.string('id')}`);
    expect((await addRoute(other, taken)).code).toBe('host_taken');
    await fleet.call('DELETE', `/api/v1/routes/${second.string('id')}`);
    expect((await addRoute(other, taken)).status).toBe(201);
  });
});

describe('Every host', () => {
  test('belongs to the default project', async () => {
    const refused = await addRoute(await ownedBy('thief'), { path: '/', priority: 9 });
    expect([refused.status, refused.code]).toEqual([409, 'host_taken']);
    expect(refused.text).toContain('name a host');
    expect((await addRoute(await ownedBy('default'), { path: '/' })).status).toBe(201);
  });

  test('is no way to take requests from the route of another project', async () => {
    const [owner, platform] = [await ownedBy('shop'), await ownedBy('default')];
    await addRoute(owner, { host: 'shop.example.com', path: '/' });
    const refused = await addRoute(platform, { path: '/', priority: 1 });
    expect([refused.status, refused.code]).toEqual([409, 'host_taken']);
    expect((await addRoute(platform, { path: '/' })).status).toBe(201);
    await addRoute(owner, { host: 'shop.example.com', path: '/high', priority: 7 });
    expect((await addRoute(platform, { path: '/high', priority: 7 })).code).toBe('host_taken');
  });
});
