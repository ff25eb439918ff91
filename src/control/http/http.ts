// The control plane's HTTP application: what every request passes before and after its resource.
import type { AnyElysia } from 'elysia';
import type { Clock } from '../../base/clock.ts';
import { createId, type RandomBytes } from '../../base/id.ts';
import { REQUEST_DEFAULTS } from '../../base/limits/request.ts';
import type { Log } from '../../base/log.ts';
import type { Metrics } from '../../base/metrics.ts';
import type { Store } from '../../store/store.ts';
import type { Auth } from '../auth/auth.ts';
import { failureResponse } from './failures.ts';
import { createIdempotency, hasIdempotencyKey } from './idempotency.ts';
import { createInFlight, type Handle } from './in_flight.ts';
import type { Keep, RequestContexts } from './request_context.ts';
import { createRouter } from './router.ts';
import { requirePlainTarget, targetOf } from './target.ts';

export type Http = {
  /** Never rejects; every response carries `x-request-id`. */
  handle(request: Request): Promise<Response>;
  /** Refuses further requests and waits for the running ones, `REQUEST_DEFAULTS.drainMs` at the most. */
  close(): Promise<void>;
};

export type HttpOptions = {
  /** Elysia applications, one per resource of the API. */
  resources: readonly AnyElysia[];
  contexts: RequestContexts;
  auth: Pick<Auth, 'callerOf'>;
  /** The answers that are kept under idempotency keys. */
  answers: Store['idempotency'];
  productVersion: string;
  clock: Clock;
  random: RandomBytes;
  log: Log;
  metrics: Metrics;
};

export function createHttp(options: HttpOptions): Http {
  const { clock } = options;
  const handle = createObserved(options, createResponder(options));
  const inFlight = createInFlight({ handle, clock });
  return {
    handle: inFlight.handle,
    close: () => inFlight.drain(REQUEST_DEFAULTS.drainMs),
  };
}

type Respond = (request: Request, requestId: string) => Promise<Response>;

/** Target, caller, idempotency, router: throws what one of them refuses. */
function createResponder(options: HttpOptions): Respond {
  const { resources, contexts, auth, answers, productVersion, random, log } = options;
  const router = createRouter({ resources, contexts, productVersion, log });
  const idempotency = createIdempotency({ answers, random });
  return async (request, requestId) => {
    requirePlainTarget(request);
    const caller = await auth.callerOf(request, targetOf(request).path);
    const route = (routed: Request, keep: Keep | null): Promise<Response> => {
      contexts.set(routed, { requestId, caller, keep });
      return router.handle(routed);
    };
    if (caller?.kind === 'admin' && hasIdempotencyKey(request)) return await idempotency.run(request, route);
    return await route(request, null);
  };
}

/** Gives each request its id, turns failures into responses, and counts and logs what was answered. */
function createObserved(options: HttpOptions, respond: Respond): Handle {
  const { clock, random, log, metrics } = options;
  const requests = metrics.counter({
    name: 'control_requests_total',
    help: 'Responses of the control plane by status.',
    labels: ['status'],
  });
  return async (request) => {
    const startMs = clock.monotonicMs();
    const requestId = requestIdOf(request) ?? createId('req', clock.nowMs(), random);
    let response: Response;
    try {
      response = await respond(request, requestId);
    } catch (failure) {
      response = failureResponse(failure, { requestId, log, isUnrouted: false });
    }
    response.headers.set('x-request-id', requestId);
    const { status } = response;
    requests.series(String(status)).inc();
    log.debug('request', {
      request_id: requestId,
      method: request.method,
      path: targetOf(request).path,
      status,
      duration_ms: Math.round(clock.monotonicMs() - startMs),
    });
    return response;
  };
}

const PLAIN_REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;

/** The id that the caller chose, or null where there is none or it is not short and plain. */
function requestIdOf(request: Request): string | null {
  const given = request.headers.get('x-request-id');
  return given !== null && PLAIN_REQUEST_ID.test(given) ? given : null;
}
