// The metrics listener, on a port of its own: figures, liveness and readiness.
import { errorResponse } from '../../base/errors.ts';
import type { Metrics } from '../../base/metrics.ts';
import type { ListenAddress } from '../../model/listen_address.ts';
import type { Listener } from '../serve/listener.ts';

/** `isReady`: the node has applied a desired state (or loaded the last one) and its engine takes work. */
export function openMetricsListener(options: {
  listen: ListenAddress;
  metrics: Metrics;
  isReady: () => boolean;
}): Listener {
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
  return { port: server.port ?? listen.port, drain: () => server.stop(), close: () => server.stop(true) };
}
