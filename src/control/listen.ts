// The control plane's socket.
import { FUNCTION_BOUNDS } from '../base/limits/function.ts';
import { SYNC_BOUNDS } from '../base/limits/sync.ts';
import type { Control } from './control.ts';

/**
 * `url` is what the socket really got, for port 0 too. `close` takes no new connections and ends the held
 * ones.
 */
export type ControlListener = { readonly url: string; readonly port: number; close(): Promise<void> };

/** Longer than any hold of a long poll: silence on a connection is then no reason to cut it. */
const IDLE_SECONDS = Math.ceil(SYNC_BOUNDS.heartbeatHoldMs / 1_000) + 35;

/**
 * Bodies are bounded where they are read, with an answer of the error table; the socket's own bound stands
 * behind that. Throws where the address cannot be bound, with Bun's `code` on the error (`EADDRINUSE`).
 */
export function listenControl(options: {
  control: Control;
  hostname: string;
  port: number;
}): ControlListener {
  const { control, hostname, port } = options;
  const server = Bun.serve({
    hostname,
    port,
    reusePort: false,
    development: false,
    idleTimeout: IDLE_SECONDS,
    maxRequestBodySize: 2 * FUNCTION_BOUNDS.artifactBytesMax,
    fetch: (request) => control.handle(request),
  });
  return {
    url: server.url.origin,
    port: server.port ?? port,
    close: async () => {
      await server.stop(true);
    },
  };
}
