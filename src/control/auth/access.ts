// Which kind of caller may send which request: a closed table over method and path.

/**
 * `open` needs no token: the handler checks a signature or a join token itself, or answers nothing secret.
 */
export type Access = 'open' | 'node' | 'node_or_admin' | 'admin';

const RULES: readonly { method: string; path: RegExp; access: Access }[] = [
  { method: 'GET', path: /^\/(livez|readyz|version|openapi\.json)$/, access: 'open' },
  { method: 'PUT', path: /^\/api\/v1\/uploads\/[^/]+\/[^/]+$/, access: 'open' },
  { method: 'POST', path: /^\/api\/v1\/nodes\/join$/, access: 'open' },
  { method: 'POST', path: /^\/api\/v1\/nodes\/[^/]+\/heartbeat$/, access: 'node' },
  { method: 'GET', path: /^\/api\/v1\/artifacts\/[^/]+\/[^/]+$/, access: 'node_or_admin' },
];

/** Below `/api/`, what no rule names is for admins; elsewhere it is open, and the router answers 404. */
export function accessOf(method: string, path: string): Access {
  const rule = RULES.find((candidate) => candidate.method === method && candidate.path.test(path));
  if (rule !== undefined) return rule.access;
  return path.startsWith('/api/') ? 'admin' : 'open';
}
