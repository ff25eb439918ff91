// The listener for operators, on a port of its own: metrics, liveness and readiness.
import { errorResponse } from '../../base/errors.ts';
import type { Metrics } from '../../base/metrics.ts';
import { endWhereNeeded } from '../../model/http/connection.ts';
import type { ListenAddress } from '../../model/listen_address.ts';
import type { WallReport } from '../../model/wall.ts';

export type MetricsListener = {
  readonly port: number;
  close(): Promise<void>;
};

/** `engine`: the engine process does not take work. `desired_state`: the last one is not applied yet. */
export type Waiting = 'engine' | 'desired_state' | 'shutdown';

/**
 * /readyz answers 200 while `waitingFor` is empty, and 503 with its entries otherwise; both with the wall of a
 * node that has one. Throws where the address cannot be used.
 */
export function openMetricsListener(options: {
  listen: ListenAddress;
  metrics: Metrics;
  waitingFor: () => readonly Waiting[];
  wall?: () => WallReport | null;
}): MetricsListener {
  const { listen, metrics, waitingFor, wall: wallNow = () => null } = options;
  const render = async (): Promise<Response> =>
    new Response(await metrics.render(), { headers: { 'content-type': metrics.contentType } });
  const readiness = (): Response => {
    const waiting_for = waitingFor();
    const wall = wallNow();
    const details = wall === null ? {} : { wall };
    if (waiting_for.length === 0) return Response.json({ ready: true, ...details });
    return Response.json({ ready: false, waiting_for, ...details }, { status: 503 });
  };
  const server = Bun.serve({
    hostname: listen.host,
    port: listen.port,
    reusePort: false,
    development: false,
    maxRequestBodySize: 1,
    routes: {
      '/metrics': async ({ method }) => endWhereNeeded(method, await render()),
      '/livez': ({ method }) => endWhereNeeded(method, Response.json({ live: true })),
      '/readyz': ({ method }) => endWhereNeeded(method, readiness()),
    },
    fetch: ({ method }) => endWhereNeeded(method, errorResponse('not_found', 'metrics')),
    error: () => new Response(null, { status: 500 }),
  });
  return { port: server.port ?? listen.port, close: () => server.stop(true) };
}
