// Finds the route of a request in a table that is compiled from host and path patterns.
import type { Method, RouteRule } from '../route.ts';

export type RouteEntry<T> = { rule: RouteRule; target: T };

/** `allow` is ready for the `Allow` header: the methods that routes of this host and path take. */
export type RouteMatch<T> =
  | { kind: 'match'; target: T; rule: RouteRule }
  | { kind: 'method_not_allowed'; allow: string }
  | { kind: 'not_found' };

type Compiled<T> = RouteEntry<T> & { rank: number; methods: ReadonlySet<string> };

/**
 * A node of the tree of path patterns, which has one level per segment. `here` are the patterns that end in
 * this segment. `below` are those that end in `*` within the next one, by the literal text before the star;
 * `belowParameter` those with a parameter there.
 */
type PathNode<T> = {
  literals: Map<string, PathNode<T>>;
  parameter: PathNode<T> | null;
  here: Compiled<T>[];
  below: Map<string, Compiled<T>[]>;
  belowLengths: number[];
  belowParameter: Compiled<T>[];
};

/** Immutable: a change of routes compiles another table. */
export type RouteTable<T> = {
  readonly exactHosts: ReadonlyMap<string, PathNode<T>>;
  readonly hostSuffixes: ReadonlyMap<string, PathNode<T>>;
  readonly anyHost: PathNode<T>;
  readonly routeCount: number;
};

const METHODS: readonly Method[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
const NOT_FOUND = { kind: 'not_found' } as const;

const createNode = <T>(): PathNode<T> => ({
  literals: new Map(),
  parameter: null,
  here: [],
  below: new Map(),
  belowLengths: [],
  belowParameter: [],
});

/** Methods that a rule takes: all seven when it names none, and HEAD if it takes GET (RFC 9110, 9.3.2). */
function methodsOf(rule: RouteRule): ReadonlySet<string> {
  const methods = new Set<string>(rule.methods.length === 0 ? METHODS : rule.methods);
  if (methods.has('GET')) methods.add('HEAD');
  return methods;
}

const segmentsOf = (path: string): string[] => path.replace(/\*$/, '').slice(1).split('/');

function hostClass(host: string): number {
  if (host === '*') return 0;
  return host.startsWith('*.') ? 1 : 2;
}

function pathClass(path: string): number {
  if (path.endsWith('*')) return 0;
  return path.includes('/:') ? 1 : 2;
}

/**
 * Which of two rules wins if both match; negative if it is `a`. Compares in this order: the higher priority,
 * the host (exact, longer suffix, any), the path (exact, `:param`, trailing `*`), the first segment that is
 * literal in one rule only, the longer path.
 */
function compareRules(a: RouteRule, b: RouteRule): number {
  const hosts = hostClass(b.host) - hostClass(a.host) || b.host.length - a.host.length;
  const order = b.priority - a.priority || hosts || pathClass(b.path) - pathClass(a.path);
  if (order !== 0) return order;
  const left = segmentsOf(a.path);
  const right = segmentsOf(b.path);
  for (let i = 0; i < Math.min(left.length, right.length); i += 1) {
    const literal = Number(right[i]?.startsWith(':') === false) - Number(left[i]?.startsWith(':') === false);
    if (literal !== 0) return literal;
  }
  return b.path.length - a.path.length;
}

function insert<T>(root: PathNode<T>, route: Compiled<T>): void {
  const { path } = route.rule;
  const segments = segmentsOf(path);
  const last = path.endsWith('*') ? (segments.pop() ?? '') : null;
  let node = root;
  for (const segment of segments) {
    if (segment.startsWith(':')) {
      node.parameter ??= createNode();
      node = node.parameter;
      continue;
    }
    const next = node.literals.get(segment) ?? createNode<T>();
    node.literals.set(segment, next);
    node = next;
  }
  if (last === null) {
    node.here.push(route);
  } else if (last.startsWith(':')) {
    node.belowParameter.push(route);
  } else {
    const routes = node.below.get(last) ?? [];
    node.below.set(last, routes);
    routes.push(route);
    if (!node.belowLengths.includes(last.length)) node.belowLengths.push(last.length);
  }
}

/** Compiles a route table; of two entries that compare equal the first wins. */
export function compileRoutes<T>(entries: readonly RouteEntry<T>[]): RouteTable<T> {
  const exactHosts = new Map<string, PathNode<T>>();
  const hostSuffixes = new Map<string, PathNode<T>>();
  const anyHost = createNode<T>();
  const sorted = [...entries].sort((a, b) => compareRules(a.rule, b.rule));
  for (const [rank, entry] of sorted.entries()) {
    const { host } = entry.rule;
    const route = { ...entry, rank, methods: methodsOf(entry.rule) };
    if (host === '*') {
      insert(anyHost, route);
      continue;
    }
    const hosts = host.startsWith('*.') ? hostSuffixes : exactHosts;
    const key = host.startsWith('*.') ? host.slice(2) : host;
    const root = hosts.get(key) ?? createNode<T>();
    hosts.set(key, root);
    insert(root, route);
  }
  return { exactHosts, hostSuffixes, anyHost, routeCount: entries.length };
}

type Search<T> = { method: string; best: Compiled<T> | null; others: Compiled<T>[] };

function consider<T>(search: Search<T>, routes: readonly Compiled<T>[]): void {
  for (const route of routes) {
    if (!route.methods.has(search.method)) search.others.push(route);
    else if (search.best === null || route.rank < search.best.rank) search.best = route;
  }
}

function considerBelow<T>(search: Search<T>, node: PathNode<T>, segment: string): void {
  for (const length of node.belowLengths) {
    if (length > segment.length) continue;
    const routes = node.below.get(segment.slice(0, length));
    if (routes !== undefined) consider(search, routes);
  }
  if (segment.length > 0) consider(search, node.belowParameter);
}

/** Follows every pattern at once, segment by segment: the patterns bound the work, not the path. */
function searchPath<T>(search: Search<T>, root: PathNode<T>, path: string): void {
  let nodes = [root];
  let start = 1;
  while (nodes.length > 0) {
    const slash = path.indexOf('/', start);
    const segment = path.slice(start, slash === -1 ? path.length : slash);
    const next: PathNode<T>[] = [];
    for (const node of nodes) {
      considerBelow(search, node, segment);
      const literal = node.literals.get(segment);
      if (literal !== undefined) next.push(literal);
      if (node.parameter !== null && segment.length > 0) next.push(node.parameter);
    }
    if (slash === -1) {
      for (const node of next) consider(search, node.here);
      return;
    }
    nodes = next;
    start = slash + 1;
  }
}

/**
 * `host` is in lower case and without a port; `path` starts with `/` and has no query. Percent-encoding is
 * compared as it stands: `%2f` is not `/`. A trailing star matches all paths that start with the text before.
 */
export function matchRoute<T>(
  table: RouteTable<T>,
  request: { host: string; path: string; method: string },
): RouteMatch<T> {
  const { host, path, method } = request;
  const search: Search<T> = { method, best: null, others: [] };
  const exact = table.exactHosts.get(host);
  if (exact !== undefined) searchPath(search, exact, path);
  if (table.hostSuffixes.size > 0) {
    for (let dot = host.indexOf('.'); dot !== -1; dot = host.indexOf('.', dot + 1)) {
      const suffix = dot > 0 ? table.hostSuffixes.get(host.slice(dot + 1)) : undefined;
      if (suffix !== undefined) searchPath(search, suffix, path);
    }
  }
  searchPath(search, table.anyHost, path);
  if (search.best !== null) return { kind: 'match', target: search.best.target, rule: search.best.rule };
  if (search.others.length === 0) return NOT_FOUND;
  const allowed = METHODS.filter((name) => search.others.some((route) => route.methods.has(name)));
  return { kind: 'method_not_allowed', allow: allowed.join(', ') };
}
