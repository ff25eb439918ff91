// The router: Elysia over the resources of the API, with one place for failures and the OpenAPI document.
import { type AnyElysia, Elysia } from 'elysia';
import type { Log } from '../../base/log.ts';
import { failureResponse } from './failures.ts';
import { openapiDocument } from './openapi.ts';
import type { RequestContexts } from './request_context.ts';

/** Every request that it handles needs a context. */
export function createRouter(options: {
  resources: readonly AnyElysia[];
  contexts: RequestContexts;
  productVersion: string;
  log: Log;
}): AnyElysia {
  const { resources, contexts, productVersion, log } = options;
  const router: AnyElysia = new Elysia({ normalize: false, handler: { standardHostname: false } });
  router.onError(({ code, error, request }) => {
    const { requestId } = contexts.of(request);
    return failureResponse(error, { requestId, log, isUnrouted: code === 'NOT_FOUND' });
  });
  for (const resource of resources) router.use(resource);
  let document: Promise<string> | null = null;
  router.get(
    '/openapi.json',
    async () => {
      document ??= openapiDocument(router, productVersion);
      return new Response(await document, { headers: { 'content-type': 'application/json' } });
    },
    { detail: { hide: true } },
  );
  return router;
}
