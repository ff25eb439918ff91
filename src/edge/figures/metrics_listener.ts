// The listener for operators, on a port of its own: metrics, liveness and readiness.
import { errorResponse } from '../../base/errors.ts';
import type { Metrics } from '../../base/metrics.ts';
import type { ListenAddress } from '../../model/listen_address.ts';

export type MetricsListener = {
  readonly port: number;
  close(): Promise<void>;
};

/** /readyz answers 200 while `isReady` holds and 503 otherwise. Throws where the address cannot be used. */
export function openMetricsListener(options: {
  listen: ListenAddress;
  metrics: Metrics;
  isReady: () => boolean;
}): MetricsListener {
  const { listen, metrics, isReady } = options;
  const server = Bun.serve({
    hostname: listen.host,
    port: listen.port,
    reusePort: false,
    development: false,
    maxRequestBodySize: 1,
    routes: {
      '/metrics': async () =>
        new Response(await metrics.render(), { headers: { 'content-type': metrics.contentType } }),
      '/livez': () => Response.json({ live: true }),
      '/readyz': () => {
        const ready = isReady();
        return Response.json({ ready }, { status: ready ? 200 : 503 });
      },
    },
    fetch: () => errorResponse('not_found', 'metrics'),
    error: () => new Response(null, { status: 500 }),
  });
  return { port: server.port ?? listen.port, close: () => server.stop(true) };
}
