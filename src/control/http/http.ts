// The control plane's HTTP application: every request in one function, every resource in one list.
import { type AnyElysia, Elysia } from 'elysia';
import { createId, type RandomBytes } from '../../base/id.ts';
import type { Log } from '../../base/log.ts';
import type { Metrics } from '../../base/metrics.ts';
import { artifactsApi } from '../api/artifacts.ts';
import { deploymentsApi } from '../api/deployments.ts';
import { functionsApi } from '../api/functions.ts';
import { nodesApi } from '../api/nodes.ts';
import type { ApiParts } from '../api/resource.ts';
import { routesApi } from '../api/routes.ts';
import { systemApi } from '../api/system.ts';
import { versionsApi } from '../api/versions.ts';
import { failureResponse } from './failures.ts';
import { hasIdempotencyKey, type Idempotency } from './idempotency.ts';
import { openapiDocument } from './openapi.ts';
import { requirePlainTarget, targetOf } from './target.ts';

/** Never rejects; every answer carries `x-request-id`. */
export type ControlApp = { handle(request: Request): Promise<Response> };

export function createControlApp(options: {
  parts: ApiParts;
  idempotency: Idempotency;
  log: Log;
  metrics: Metrics;
  random: RandomBytes;
}): ControlApp {
  const { parts, idempotency, log, metrics, random } = options;
  const { contexts, auth, clock } = parts;
  const app = createRouter(parts, log);
  const requests = metrics.counter({
    name: 'control_requests_total',
    help: 'Answers of the control plane by status.',
    labels: ['status'],
  });
  const answer = async (request: Request, requestId: string): Promise<Response> => {
    requirePlainTarget(request);
    const caller = await auth.callerOf(request, targetOf(request).path);
    const run = (opened: Request): Promise<Response> => {
      contexts.set(opened, { requestId, caller });
      return app.handle(opened);
    };
    if (caller?.kind === 'admin' && hasIdempotencyKey(request)) return await idempotency.run(request, run);
    return await run(request);
  };
  return {
    async handle(request) {
      const requestId = requestIdOf(request) ?? createId('req', clock.nowMs(), random);
      const startMs = clock.monotonicMs();
      let response: Response;
      try {
        response = await answer(request, requestId);
      } catch (failure) {
        response = failureResponse(failure, { requestId, log, isUnrouted: false });
      }
      response.headers.set('x-request-id', requestId);
      const { status } = response;
      requests.series(String(status)).inc();
      const duration_ms = Math.round(clock.monotonicMs() - startMs);
      log.debug('request', {
        request_id: requestId,
        method: request.method,
        path: targetOf(request).path,
        status,
        duration_ms,
      });
      return response;
    },
  };
}

function createRouter(parts: ApiParts, log: Log): AnyElysia {
  const { contexts, productVersion } = parts;
  let document: Promise<string> | null = null;
  const app: AnyElysia = new Elysia({ normalize: false, handler: { standardHostname: false } })
    .onError(({ code, error, request }) => {
      const { requestId } = contexts.of(request);
      return failureResponse(error, { requestId, log, isUnrouted: code === 'NOT_FOUND' });
    })
    .use(functionsApi(parts))
    .use(versionsApi(parts))
    .use(artifactsApi({ versions: parts.store.versions, ...parts }))
    .use(routesApi(parts))
    .use(deploymentsApi(parts))
    .use(nodesApi(parts))
    .use(systemApi(parts))
    .get(
      '/openapi.json',
      async () => {
        document ??= openapiDocument(app, productVersion);
        return new Response(await document, { headers: { 'content-type': 'application/json' } });
      },
      { detail: { hide: true } },
    );
  return app;
}

const PLAIN_REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;

/** The id that the caller chose, or null where there is none or it is not short and plain. */
function requestIdOf(request: Request): string | null {
  const given = request.headers.get('x-request-id');
  return given !== null && PLAIN_REQUEST_ID.test(given) ? given : null;
}
