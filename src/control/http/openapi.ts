// The OpenAPI document, made from the schemas that the routes check requests with.
import type { AnyElysia } from 'elysia';

const DESCRIPTION =
  'Functions, versions, routes, deployments and nodes. Requests carry `authorization: Bearer TOKEN`. ' +
  'Errors are `{"error": {"code", "message", "request_id", "retryable", "details"}}`.';

/** The document as JSON. Its library is loaded here, so that a start does not pay for it. */
export async function openapiDocument(router: AnyElysia, productVersion: string): Promise<string> {
  const { toOpenAPISchema } = await import('@elysiajs/openapi');
  const { paths, components } = toOpenAPISchema(router);
  return JSON.stringify({
    openapi: '3.1.0',
    info: { title: 'edge control plane', version: productVersion, description: DESCRIPTION },
    security: [{ bearer: [] }],
    paths,
    components: { ...components, securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
  });
}
