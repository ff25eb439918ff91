// The public listener: every path on it belongs to functions.
import type { Clock } from '../../base/clock.ts';
import { errorResponse } from '../../base/errors.ts';
import { REQUEST_BOUNDS, REQUEST_TUNING } from '../../base/limits/request.ts';
import type { Log } from '../../base/log.ts';
import type { ListenAddress } from '../../model/listen_address.ts';

export type PublicListener = {
  readonly port: number;
  /** Takes no new connections; resolves when the last request that came in whole has been answered. */
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
}): PublicListener {
  const { listen, handle, clock, log, requestBytesMax } = options;
  const server = Bun.serve({
    hostname: listen.host,
    port: listen.port,
    reusePort: false,
    development: false,
    maxRequestBodySize: Math.max(REQUEST_BOUNDS.drainBytesMax, requestBytesMax),
    idleTimeout: REQUEST_BOUNDS.connectionIdleMs / 1_000,
    fetch: (request) => handle(request),
    error(failure) {
      log.error('a request failed inside the edge', { error: String(failure) });
      return errorResponse('internal', 'unknown');
    },
  });
  let isClosed = false;
  /** `server.stop()` alone would also wait for connections on which half a head has come. */
  const allAnswered = async (): Promise<void> => {
    while (!isClosed && server.pendingRequests > 0) await clock.sleep(REQUEST_TUNING.drainPollMs);
  };
  return {
    port: server.port ?? listen.port,
    drain: () => Promise.race([server.stop(), allAnswered()]),
    close() {
      isClosed = true;
      return server.stop(true);
    },
  };
}
