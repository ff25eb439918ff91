// The way of one request through the edge, up to its pool; every branch of it is in `handle`.
import type { Clock } from '../../base/clock.ts';
import type { RandomBytes } from '../../base/id.ts';
import { isRequestId, readRequestHead } from '../../model/http/headers.ts';
import type { Invoker } from './invoke.ts';
import type { ReceivedRequest, Responder } from './respond.ts';
import { retryAfter } from './respond.ts';
import type { Routing } from './routing.ts';
import { pathStart } from './routing.ts';

export type IngressLimits = { targetBytesMax: number; headersBytesMax: number; headersCountMax: number };

/**
 * Bun hands over a request that differs from its bytes on the wire: the path has no `.` and `..` segments and
 * `/` for `\`; characters that a URL may not hold are percent-encoded; repeated fields are one line joined
 * with `, ` (`cookie` with `; `), except `set-cookie`; the body of a GET or HEAD is dropped. Bun itself
 * refuses heads above 64 KiB (as the build sets it) and above 200 fields (431), folded lines, and
 * `content-length` beside `transfer-encoding` (400). It closes the connection on a method that HTTP does not
 * know, on a request that comes before the one ahead of it is answered, and when the client closes its half.
 */
export type Ingress = {
  /** Never rejects for anything that a client or a guest did. */
  handle(request: Request): Response | Promise<Response>;
  /** From now on new requests get 503 `shutting_down`; the running ones end as they would. */
  refuseNew(): void;
};

type Options = {
  routing: Routing;
  invoker: Invoker;
  responder: Responder;
  clock: Clock;
  random: RandomBytes;
  limits: IngressLimits;
};

const DRAINING_RETRY_MS = 1_000;

/** Normalizes the path of a request without a host, which Bun leaves as it came. */
function normalUrl(url: string): string {
  if (!url.startsWith('/')) return url;
  const normal = URL.parse(`http://host${url}`);
  return normal === null ? url : `${normal.pathname}${normal.search}`;
}

/** `url` up to `mark`, or all of it. */
function before(mark: '#' | '?', url: string): string {
  const at = url.indexOf(mark);
  return at === -1 ? url : url.slice(0, at);
}

/** A random prefix of this process and a counter: unique without randomness per request. */
function createRequestIds(random: RandomBytes): () => string {
  const prefix = Buffer.from(random(9)).toString('base64url');
  let count = 0;
  return () => `${prefix}-${(count += 1).toString(36)}`;
}

export function createIngress(options: Options): Ingress {
  const { routing, invoker, responder, clock, limits } = options;
  const nextRequestId = createRequestIds(options.random);
  const bounds = { bytesMax: limits.headersBytesMax, countMax: limits.headersCountMax };
  let isRefusing = false;

  const handle = (request: Request): Response | Promise<Response> => {
    const receivedMs = clock.monotonicMs();
    const { method, headers } = request;
    const url = before('#', normalUrl(request.url));
    const start = pathStart(url);
    const target = url.slice(start);
    const read = readRequestHead(headers, bounds);
    const givenId = read.ok ? read.head.requestId : read.requestId;
    const requestId = givenId !== null && isRequestId(givenId) ? givenId : nextRequestId();
    if (isRefusing) {
      const wait = retryAfter(DRAINING_RETRY_MS);
      return responder.refuse('shutting_down', requestId, { connection: 'close', ...wait });
    }
    if (method === 'CONNECT') return responder.refuse('bad_request', requestId);
    if (target.length > limits.targetBytesMax) return responder.refuse('uri_too_long', requestId);
    if (!read.ok) return responder.refuse(read.code, requestId);
    const isHostBroken = start === 0 && (headers.get('host') ?? '') !== '';
    if (isHostBroken || !target.startsWith('/')) return responder.refuse('bad_request', requestId);
    const urlToMatch = before('?', url);
    const match = routing.match(urlToMatch, method);
    if (match.kind === 'unreadable') return responder.refuse('bad_request', requestId);
    if (match.kind === 'not_found') return responder.refuse('route_not_found', requestId);
    if (match.kind === 'method_not_allowed') {
      return responder.refuse('method_not_allowed', requestId, { allow: match.allow });
    }
    const { head } = read;
    const received: ReceivedRequest = { request, method, target, head, requestId, receivedMs };
    const mayHaveBody = method !== 'GET' && method !== 'HEAD';
    const hasBody = mayHaveBody && (head.isChunked || (head.contentLength ?? 0) !== 0);
    const assigned = match.target.current;
    if (hasBody) return invoker.readThenInvoke(received, urlToMatch, assigned.quota);
    if (assigned.pool === null) return invoker.invokeWhenReady(received, assigned);
    return invoker.invoke(received, assigned);
  };

  return {
    handle,
    refuseNew() {
      isRefusing = true;
    },
  };
}
