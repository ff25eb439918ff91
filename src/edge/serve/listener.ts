// The public listener: every path on it belongs to functions.
import type { Clock } from '../../base/clock.ts';
import { errorResponse } from '../../base/errors.ts';
import { REQUEST_BOUNDS, REQUEST_TUNING } from '../../base/limits/request.ts';
import type { Log } from '../../base/log.ts';
import type { ListenAddress } from '../../model/listen_address.ts';

export type PublicListener = {
  readonly port: number;
  /**
   * Takes no new connections; every answer ends its connection. Resolves when clients send nothing more and the
   * last request that came in whole has been answered.
   */
  drain(): Promise<void>;
  /** Ends every connection that is still open. */
  close(): Promise<void>;
};

/**
 * Bun answers bodies above `maxRequestBodySize` with a bare 413 before any handler runs; between
 * `requestBytesMax` and that, `handle` answers in the product's own form and Bun discards the rest of the
 * body. `idleTimeout` starts again with every byte and with every request, so bodies have a deadline of their
 * own. Throws where the address cannot be used.
 */
export function openPublicListener(options: {
  listen: ListenAddress;
  handle: (request: Request) => Response | Promise<Response>;
  clock: Clock;
  log: Log;
  requestBytesMax: number;
  /** Closes the sockets of a port that take connections, and not the connections; false where it cannot. */
  stopListening: (port: number) => boolean;
  /** Requests whose body is still on its way. */
  unfinished: () => number;
}): PublicListener {
  const { listen, handle, clock, log, requestBytesMax, stopListening, unfinished } = options;
  let isDraining = false;
  const answerLast = async (request: Request): Promise<Response> => {
    const response = await handle(request);
    response.headers.set('connection', 'close');
    return response;
  };
  const server = Bun.serve({
    hostname: listen.host,
    port: listen.port,
    reusePort: false,
    development: false,
    maxRequestBodySize: Math.max(REQUEST_BOUNDS.drainBytesMax, requestBytesMax),
    idleTimeout: REQUEST_BOUNDS.connectionIdleMs / 1_000,
    fetch: (request) => (isDraining ? answerLast(request) : handle(request)),
    error(failure) {
      log.error('a request failed inside the edge', { error: String(failure) });
      return errorResponse('internal', 'unknown');
    },
  });
  const port = server.port ?? listen.port;
  let isClosed = false;
  return {
    port,
    async drain() {
      isDraining = true;
      // `server.stop()` would end the connections on which the next request is already under way.
      if (!stopListening(port)) log.warn('new connections are taken until the end', { port });
      let busyMs = clock.monotonicMs();
      while (!isClosed && clock.monotonicMs() - busyMs < REQUEST_TUNING.drainQuietMs) {
        await clock.sleep(REQUEST_TUNING.drainPollMs);
        if (server.pendingRequests > unfinished()) busyMs = clock.monotonicMs();
      }
    },
    close() {
      isClosed = true;
      return server.stop(true);
    },
  };
}
