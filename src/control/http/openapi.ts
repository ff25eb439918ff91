// The OpenAPI document of the API, made from the schemas that the routes check requests with.
import type { AnyElysia } from 'elysia';

/** Loaded and worked out when it is first asked for: few do, and a start should not pay for it. */
export async function openapiDocument(app: AnyElysia, productVersion: string): Promise<string> {
  const { toOpenAPISchema } = await import('@elysiajs/openapi');
  const { paths, components } = toOpenAPISchema(app);
  return JSON.stringify({
    openapi: '3.1.0',
    info: {
      title: 'edge control plane',
      version: productVersion,
      description:
        'Functions, versions, routes, deployments and nodes. Errors are {"error": {"code", "message", …}}.',
    },
    security: [{ bearer: [] }],
    paths,
    components: { ...components, securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
  });
}
