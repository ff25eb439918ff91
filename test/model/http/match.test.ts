// The rules of route matching, as tables of patterns and requests.
import { describe, expect, test } from 'bun:test';
import { compileRoutes, matchRoute } from '../../../src/model/http/match.ts';
import type { RouteRule } from '../../../src/model/route.ts';

const rule = (path: string, more: Partial<RouteRule> = {}): RouteRule => ({
  host: '*',
  path,
  methods: [],
  priority: 0,
  ...more,
});

/** What a request for `path` on `host` matches; a target is named after the position of its rule. */
function lead(
  rules: RouteRule[],
  path: string,
  options: { host?: string; method?: string } = {},
): string | number {
  const table = compileRoutes(rules.map((held, target) => ({ rule: held, target })));
  const { host = 'example.com', method = 'GET' } = options;
  const found = matchRoute(table, { host, path, method });
  if (found.kind === 'match') return found.target;
  return found.kind === 'not_found' ? 'not found' : `allow ${found.allow}`;
}

describe('A path pattern', () => {
  const table: [pattern: string, path: string, matches: boolean][] = [
    ['/hello', '/hello', true],
    ['/hello', '/hello/', false],
    ['/hello', '/hellox', false],
    ['/hello', '/Hello', false],
    ['/hello/', '/hello/', true],
    ['/', '/', true],
    ['/', '/x', false],
    ['/*', '/', true],
    ['/*', '/a/b', true],
    ['/a/*', '/a/', true],
    ['/a/*', '/a/b/c', true],
    ['/a/*', '/a', false],
    ['/a*', '/a', true],
    ['/a*', '/ab/c', true],
    ['/a*', '/b', false],
    ['/u/:id', '/u/7', true],
    ['/u/:id', '/u/', false],
    ['/u/:id', '/u/7/x', false],
    ['/u/:id/x', '/u/7/x', true],
    ['/u/:id/*', '/u/7/', true],
    ['/u/:id/*', '/u//', false],
    ['/:any*', '/z/y', true],
    ['/:any*', '/', false],
    ['/a', '/%61', false],
    ['/a/b', '/a%2fb', false],
  ];
  for (const [pattern, path, matches] of table) {
    test(`${pattern} ${matches ? 'matches' : 'does not match'} ${path}`, () => {
      expect(lead([rule(pattern)], path)).toBe(matches ? 0 : 'not found');
    });
  }
});

describe('A host pattern', () => {
  const table: [pattern: string, host: string, matches: boolean][] = [
    ['*', 'anything.at.all', true],
    ['*', '', true],
    ['api.example.com', 'api.example.com', true],
    ['api.example.com', 'example.com', false],
    ['*.example.com', 'a.example.com', true],
    ['*.example.com', 'a.b.example.com', true],
    ['*.example.com', 'example.com', false],
    ['*.example.com', '.example.com', false],
    ['*.example.com', 'badexample.com', false],
  ];
  for (const [pattern, host, matches] of table) {
    test(`${pattern} ${matches ? 'matches' : 'does not match'} "${host}"`, () => {
      expect(lead([rule('/*', { host: pattern })], '/', { host })).toBe(matches ? 0 : 'not found');
    });
  }
});

describe('Where several routes match', () => {
  const table: [name: string, rules: RouteRule[], path: string, host: string, winner: number][] = [
    [
      'the exact host wins over a suffix',
      [rule('/', { host: '*.b.c' }), rule('/', { host: 'a.b.c' })],
      '/',
      'a.b.c',
      1,
    ],
    ['the longer suffix wins', [rule('/', { host: '*.c' }), rule('/', { host: '*.b.c' })], '/', 'a.b.c', 1],
    ['a suffix wins over any host', [rule('/'), rule('/', { host: '*.c' })], '/', 'a.c', 1],
    ['the exact path wins over a parameter', [rule('/u/:id'), rule('/u/me')], '/u/me', 'h', 1],
    ['a parameter wins over a star', [rule('/u/*'), rule('/u/:id')], '/u/me', 'h', 1],
    ['the longer star wins', [rule('/*'), rule('/u/*')], '/u/me', 'h', 1],
    ['the earlier literal segment wins', [rule('/:x/b'), rule('/a/:y')], '/a/b', 'h', 1],
    ['the host goes before the path', [rule('/u/me'), rule('/*', { host: 'h' })], '/u/me', 'h', 1],
    [
      'priority goes before all of it',
      [rule('/u/me', { host: 'h' }), rule('/*', { priority: 1 })],
      '/u/me',
      'h',
      1,
    ],
    ['a lower priority loses', [rule('/u/me', { priority: -1 }), rule('/*')], '/u/me', 'h', 1],
    ['a tie goes to the first', [rule('/a'), rule('/a')], '/a', 'h', 0],
  ];
  for (const [name, rules, path, host, winner] of table) {
    test(name, () => expect(lead(rules, path, { host })).toBe(winner));
  }

  test('a route that takes the method wins over a better one that does not', () => {
    const rules = [rule('/a', { methods: ['POST'] }), rule('/*')];
    expect(lead(rules, '/a', { method: 'GET' })).toBe(1);
    expect(lead(rules, '/a', { method: 'POST' })).toBe(0);
  });
});

describe('A known path with another method', () => {
  test('lists the methods that it takes, each once and in a fixed order', () => {
    const rules = [rule('/a', { methods: ['POST', 'DELETE'] }), rule('/:x', { methods: ['PUT', 'POST'] })];
    expect(lead(rules, '/a', { method: 'GET' })).toBe('allow POST, PUT, DELETE');
  });

  test('takes HEAD where it takes GET', () => {
    const rules = [rule('/a', { methods: ['GET'] })];
    expect(lead(rules, '/a', { method: 'HEAD' })).toBe(0);
    expect(lead(rules, '/a', { method: 'POST' })).toBe('allow GET, HEAD');
  });

  test('is refused for a method that no route can name', () => {
    expect(lead([rule('/a')], '/a', { method: 'TRACE' })).toBe(
      'allow GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
    );
  });
});

describe('A hostile path', () => {
  test('of many segments costs no more than the patterns allow', () => {
    const rules = [rule('/:a/:b/:c'), rule('/x/:b/z'), rule('/:a/y/*')];
    expect(lead(rules, '/x'.repeat(4_000))).toBe('not found');
  });

  test('cannot reach the prototype of a map', () => {
    expect(lead([rule('/a')], '/__proto__/constructor')).toBe('not found');
  });
});

test('An empty table finds nothing', () => expect(lead([], '/')).toBe('not found'));
