// What the control plane knows of a request before its handler runs: its id, and who calls.
import { CodedError } from '../../base/errors.ts';
import { createId, type RandomBytes } from '../../base/id.ts';

/** Project roles would be further kinds. A node's token opens only what `accessOf` gives to nodes. */
export type Caller = { kind: 'admin'; name: string } | { kind: 'node'; nodeId: string };

export type Call = { readonly requestId: string; readonly caller: Caller | null };

/** Calls by request; a call is forgotten with its request. */
export type Calls = {
  open(request: Request, call: Call): void;
  of(request: Request): Call;
  /** Who did it, as the audit trail says it. */
  actorOf(request: Request): string;
};

export function createCalls(): Calls {
  const calls = new WeakMap<Request, Call>();
  const of = (request: Request): Call => {
    const call = calls.get(request);
    if (call === undefined) throw new Error('a handler ran for a request that was not opened');
    return call;
  };
  return {
    open: (request, call) => void calls.set(request, call),
    of,
    actorOf(request) {
      const { caller } = of(request);
      if (caller === null) throw new CodedError('unauthenticated');
      return caller.kind === 'admin' ? `admin:${caller.name}` : `node:${caller.nodeId}`;
    },
  };
}

const SANE_REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;

/** The caller's own id where it is short and plain, else a new one. */
export function requestIdOf(request: Request, options: { nowMs: number; random: RandomBytes }): string {
  const given = request.headers.get('x-request-id');
  if (given !== null && SANE_REQUEST_ID.test(given)) return given;
  return createId('req', options.nowMs, options.random);
}

/** `http://`; the router looks for the path behind it. */
const ROUTER_START = 7;

/** The path as the router reads it: neither decoded nor normalised. */
export function pathOf(request: Request): string {
  const { url } = request;
  const start = url.indexOf('/', ROUTER_START);
  const end = url.indexOf('?', start);
  return end === -1 ? url.slice(start) : url.slice(start, end);
}

/**
 * Whether everyone reads the same path from this request. Where a server can make no URL of host and target
 * it gives them as they came, and the router could see another path than the table of who may call what.
 */
export function hasPlainPath(request: Request): boolean {
  return URL.parse(request.url)?.pathname === pathOf(request);
}
