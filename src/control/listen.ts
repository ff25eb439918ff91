// The socket of the control plane.
import { FUNCTION_BOUNDS } from '../base/limits/function.ts';
import { SYNC_BOUNDS } from '../base/limits/sync.ts';
import { endWhereNeeded } from '../model/http/connection.ts';
import type { Control } from './control.ts';

export type ControlListener = {
  readonly url: string;
  /** The port that the socket got, also where 0 was asked for. */
  readonly port: number;
  /** Accepts no more connections and ends the open ones. */
  close(): Promise<void>;
};

/** Longer than the longest hold of a heartbeat, so that a held connection is not taken for an idle one. */
const IDLE_SECONDS = Math.ceil(SYNC_BOUNDS.heartbeatHoldMs / 1_000) + 35;

/** Above every bound that the handlers check, so that a large body is refused with an error of the table. */
const BODY_BYTES_MAX = 2 * FUNCTION_BOUNDS.artifactBytesMax;

/** Throws where the address cannot be bound, with Bun's `code` on the error (`EADDRINUSE`). */
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
    maxRequestBodySize: BODY_BYTES_MAX,
    fetch: async (request) => endWhereNeeded(request.method, await control.handle(request)),
  });
  return {
    url: server.url.origin,
    port: server.port ?? port,
    close: async () => {
      await server.stop(true);
    },
  };
}
