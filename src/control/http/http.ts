// The control plane's HTTP application: every request in one function, every resource in one list.
import { type AnyElysia, Elysia } from 'elysia';
import { CodedError } from '../../base/errors.ts';
import type { RandomBytes } from '../../base/id.ts';
import { REQUEST_BOUNDS } from '../../base/limits/request.ts';
import type { Log } from '../../base/log.ts';
import type { Metrics } from '../../base/metrics.ts';
import { accessOf, authenticate } from '../auth/access.ts';
import { artifactsApi } from '../api/artifacts.ts';
import { deploymentsApi } from '../api/deployments.ts';
import { functionsApi } from '../api/functions.ts';
import { nodesApi } from '../api/nodes.ts';
import type { ApiParts } from '../api/resource.ts';
import { routesApi } from '../api/routes.ts';
import { systemApi } from '../api/system.ts';
import { versionsApi } from '../api/versions.ts';
import { hasPlainPath, pathOf, requestIdOf } from './request_context.ts';
import { failureResponse } from './failures.ts';
import { hasIdempotencyKey, type Idempotency } from './idempotency.ts';
import { openapiDocument } from './openapi.ts';

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
  const { calls, store, clock } = parts;
  const app = createRouter(parts, log);
  const requests = metrics.counter({
    name: 'control_requests_total',
    help: 'Answers of the control plane by status.',
    labels: ['status'],
  });
  const answer = async (request: Request, requestId: string): Promise<Response> => {
    const path = pathOf(request);
    if (request.url.length > REQUEST_BOUNDS.targetBytesMax) throw new CodedError('uri_too_long');
    if (!hasPlainPath(request)) throw new CodedError('bad_request');
    const caller = await authenticate(request, {
      access: accessOf(request.method, path),
      holderOf: store.tokens.holderOf,
    });
    const run = (opened: Request): Promise<Response> => {
      calls.open(opened, { requestId, caller });
      return app.handle(opened);
    };
    if (caller?.kind === 'admin' && hasIdempotencyKey(request)) return await idempotency.run(request, run);
    return await run(request);
  };
  return {
    async handle(request) {
      const requestId = requestIdOf(request, { nowMs: clock.nowMs(), random });
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
        path: pathOf(request),
        status,
        duration_ms,
      });
      return response;
    },
  };
}

function createRouter(parts: ApiParts, log: Log): AnyElysia {
  const { calls, productVersion } = parts;
  let document: Promise<string> | null = null;
  const app: AnyElysia = new Elysia({ normalize: false, handler: { standardHostname: false } })
    .onError(({ code, error, request }) => {
      const { requestId } = calls.of(request);
      return failureResponse(error, { requestId, log, isUnrouted: code === 'NOT_FOUND' });
    })
    .use(functionsApi(parts))
    .use(versionsApi(parts))
    .use(artifactsApi(parts))
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
