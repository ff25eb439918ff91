// What the routes of a function lead to, and how many requests wait for its version.
import { describe, expect, test } from 'bun:test';
import { createFunctionRoutes, type FunctionRoutes } from '../../../src/edge/reconcile/routes.ts';
import type { AssignedVersion, Readiness } from '../../../src/edge/serve/routing.ts';
import type { RouteRule } from '../../../src/model/route.ts';
import { createQuota } from '../../../src/model/rules/quota.ts';

const NOT_READY: Readiness = { ready: false, code: 'not_ready', retryAfterMs: 1 };

const rule = (path: string): RouteRule => ({ host: '*', path, methods: [], priority: 0 });

const versionOf = (version: string): AssignedVersion => ({
  functionId: 'f1',
  version,
  maxExecutionMs: 1,
  quota: createQuota({ concurrentMax: 1, perMinuteMax: 1 }),
  figures: {
    invoked: () => {},
    failed: () => {},
    totals: () => ({ invocations: 0, errors: 0, meanMs: 0, p99Ms: 0 }),
  },
  pool: null,
  whenReady: () => Promise.resolve(NOT_READY),
});

const versionAt = ({ routing }: FunctionRoutes, path: string): string | null => {
  const match = routing.match(`http://x${path}`, 'GET');
  return match.kind === 'match' ? match.target.current.version : null;
};

describe('The routes of a function', () => {
  test('lead nowhere before they are published', () => {
    const routes = createFunctionRoutes({ waitersMax: 1 });
    routes.lead('f1', versionOf('1.0.0'), [rule('/a')]);
    expect([routes.has('f1'), versionAt(routes, '/a')]).toEqual([true, null]);
    routes.publish();
    expect(versionAt(routes, '/a')).toBe('1.0.0');
  });

  test('lead to another version at once', () => {
    const routes = createFunctionRoutes({ waitersMax: 1 });
    routes.lead('f1', versionOf('1.0.0'), [rule('/a')]);
    routes.publish();
    const match = routes.routing.match('http://x/a', 'GET');
    routes.lead('f1', versionOf('2.0.0'), [rule('/a')]);
    expect(versionAt(routes, '/a')).toBe('2.0.0');
    expect(match).toMatchObject({ kind: 'match', target: { current: { version: '2.0.0' } } });
  });

  test('change and go when they are published', () => {
    const routes = createFunctionRoutes({ waitersMax: 1 });
    routes.lead('f1', versionOf('1.0.0'), [rule('/a')]);
    routes.publish();
    routes.lead('f1', versionOf('1.0.0'), [rule('/b')]);
    expect([versionAt(routes, '/a'), versionAt(routes, '/b')]).toEqual(['1.0.0', null]);
    routes.publish();
    expect([versionAt(routes, '/a'), versionAt(routes, '/b')]).toEqual([null, '1.0.0']);
    routes.remove('f1');
    routes.publish();
    expect([routes.has('f1'), versionAt(routes, '/b')]).toEqual([false, null]);
  });
});

test('Only a bounded number of requests waits for one function', async () => {
  const routes = createFunctionRoutes({ waitersMax: 2 });
  const first = routes.wait('f1');
  expect(routes.wait('f1')).toBe(first);
  expect(routes.wait('f1')).toBeNull();
  routes.settle('f1', NOT_READY);
  expect(await first).toMatchObject({ code: 'not_ready' });
  expect(routes.wait('f1')).not.toBeNull();
});
