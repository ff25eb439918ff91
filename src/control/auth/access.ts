// Who may call what: a closed table over method and path, and the token that proves it.
import { CodedError } from '../../base/errors.ts';
import type { Caller } from '../http/request_context.ts';

/**
 * `open`: no token of ours; the handler itself asks for what it needs (a signature, a join token) or tells no
 * secret.
 */
export type Access = 'open' | 'node' | 'node_or_admin' | 'admin';

const RULES: readonly { method: string; path: RegExp; access: Access }[] = [
  { method: 'GET', path: /^\/(livez|readyz|version|openapi\.json)$/, access: 'open' },
  { method: 'PUT', path: /^\/api\/v1\/uploads\/[^/]+\/[^/]+$/, access: 'open' },
  { method: 'POST', path: /^\/api\/v1\/nodes\/join$/, access: 'open' },
  { method: 'POST', path: /^\/api\/v1\/nodes\/[^/]+\/heartbeat$/, access: 'node' },
  { method: 'GET', path: /^\/api\/v1\/artifacts\/[^/]+\/[^/]+$/, access: 'node_or_admin' },
];

/**
 * What is not in the table is for admins; outside of `/api/` there is nothing to protect but the router's
 * 404.
 */
export function accessOf(method: string, path: string): Access {
  const rule = RULES.find((candidate) => candidate.method === method && candidate.path.test(path));
  if (rule !== undefined) return rule.access;
  return path.startsWith('/api/') ? 'admin' : 'open';
}

const BEARER = /^Bearer ([\x21-\x7e]{1,256})$/i;

/** The token of `authorization: Bearer …`, or null. */
export function bearerOf(request: Request): string | null {
  return BEARER.exec(request.headers.get('authorization') ?? '')?.[1] ?? null;
}

/** Tokens are kept and looked up by this digest only. */
export function tokenHash(token: string): string {
  return new Bun.CryptoHasher('sha256').update(token).digest('hex');
}

/** Null on open paths; refuses `unauthenticated` and `forbidden` elsewhere. */
export async function authenticate(
  request: Request,
  options: { access: Access; holderOf: (hash: string) => Promise<Caller | null> },
): Promise<Caller | null> {
  const { access, holderOf } = options;
  if (access === 'open') return null;
  const token = bearerOf(request);
  const caller = token === null ? null : await holderOf(tokenHash(token));
  if (caller === null) throw new CodedError('unauthenticated');
  if (access !== 'node_or_admin' && access !== caller.kind) throw new CodedError('forbidden');
  return caller;
}
