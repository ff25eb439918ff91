// The way of one request through the edge: bounds, route, quota, pool; every branch is here.
import type { Clock } from '../../base/clock.ts';
import type { RandomBytes } from '../../base/id.ts';
import { isRequestId, readRequestHead } from '../../model/http/headers.ts';
import type { Invoker } from './invoke.ts';
import type { Call, Responder } from './respond.ts';
import { retryAfter } from './respond.ts';
import type { Routing } from './routing.ts';
import { pathStart } from './routing.ts';

export type IngressLimits = { targetBytesMax: number; headersBytesMax: number; headersCountMax: number };

/**
 * The bytes of a request as Bun gives them differ from the wire in these ways: the path has no `.` and `..`
 * segments and `/` for `\`; characters that a URL may not hold are percent-encoded; repeated fields are one
 * line joined with `, ` (`cookie` with `; `), except `set-cookie`; a body of GET and HEAD is dropped. Bun
 * itself refuses heads above 64 KiB (as the build sets it) and 200 fields (431), folded lines, and
 * `content-length` beside `transfer-encoding` (400), and it closes the connection on a method that HTTP does
 * not know, on a request that comes before the one ahead of it is answered, and when the client closes its
 * half.
 */
export type Ingress = {
  /** Never rejects for anything that a client or a guest did. */
  handle(request: Request): Response | Promise<Response>;
  /** From now on new requests get 503 `shutting_down`; the running ones end as they would. */
  drain(): void;
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

/** The path of a request without a host is as it came: it is brought into the form that others have. */
function plainUrl(url: string): string {
  if (!url.startsWith('/')) return url;
  const plain = URL.parse(`http://host${url}`);
  return plain === null ? url : `${plain.pathname}${plain.search}`;
}

/** A prefix of this process and a counter: unique without randomness per request. */
function createRequestIds(random: RandomBytes): () => string {
  const prefix = Buffer.from(random(9)).toString('base64url');
  let count = 0;
  return () => `${prefix}-${(count += 1).toString(36)}`;
}

export function createIngress(options: Options): Ingress {
  const { routing, invoker, responder, clock, limits } = options;
  const nextRequestId = createRequestIds(options.random);
  const bounds = { bytesMax: limits.headersBytesMax, countMax: limits.headersCountMax };
  let draining = false;

  const handle = (request: Request): Response | Promise<Response> => {
    const receivedMs = clock.monotonicMs();
    const { method, headers } = request;
    const url = plainUrl(request.url);
    const fragment = url.indexOf('#');
    const whole = fragment === -1 ? url : url.slice(0, fragment);
    const start = pathStart(whole);
    const path = whole.slice(start);
    const read = readRequestHead(headers, bounds);
    const given = read.ok ? read.head.requestId : read.requestId;
    const requestId = given !== null && isRequestId(given) ? given : nextRequestId();
    if (draining) {
      return responder.refuse('shutting_down', requestId, {
        connection: 'close',
        ...retryAfter(DRAINING_RETRY_MS),
      });
    }
    if (path.length > limits.targetBytesMax) return responder.refuse('uri_too_long', requestId);
    if (!read.ok) return responder.refuse(read.code, requestId);
    const isHostBroken = start === 0 && (headers.get('host') ?? '') !== '';
    if (isHostBroken || !path.startsWith('/')) return responder.refuse('bad_request', requestId);
    const query = whole.indexOf('?');
    const address = query === -1 ? whole : whole.slice(0, query);
    const match = routing.match(address, method);
    if (match.kind === 'unreadable') return responder.refuse('bad_request', requestId);
    if (match.kind === 'not_found') return responder.refuse('route_not_found', requestId);
    if (match.kind === 'method_not_allowed') {
      return responder.refuse('method_not_allowed', requestId, { allow: match.allow });
    }
    const { head } = read;
    const call: Call = { request, method, path, head, requestId, receivedMs };
    const hasBody =
      (head.isChunked || (head.contentLength ?? 0) !== 0) && method !== 'GET' && method !== 'HEAD';
    if (hasBody) return invoker.readThenInvoke(call, address);
    const target = match.target.current;
    return target.pool === null ? invoker.invokeWhenReady(call, target) : invoker.invoke(call, target);
  };

  return {
    handle,
    drain() {
      draining = true;
    },
  };
}
