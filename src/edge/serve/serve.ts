// The server of functions: a listener, and the way of each request from there to a pool and back.
import type { Clock } from '../../base/clock.ts';
import type { RandomBytes } from '../../base/id.ts';
import { REQUEST_BOUNDS } from '../../base/limits/request.ts';
import type { Log } from '../../base/log.ts';
import type { ListenAddress } from '../../model/listen_address.ts';
import type { EdgeFigures } from '../figures/figures.ts';
import { createBodies, type BodyLimits } from './body.ts';
import { createIngress, type IngressLimits } from './ingress.ts';
import { createInvoker } from './invoke.ts';
import { openPublicListener } from './listener.ts';
import { createRequestLog, type AccessLog } from './request_log.ts';
import { createResponder } from './respond.ts';
import type { Routing } from './routing.ts';

export type ServeLimits = IngressLimits & BodyLimits;

export type ServeConfig = ServeLimits & { listen: ListenAddress; accessLog: AccessLog };

export type FunctionServer = {
  /** The port that is listened on, also where 0 was asked for. */
  readonly port: number;
  /**
   * Takes no new connections; every answer ends its connection. Resolves when clients send nothing more and the
   * last request that came in whole has been answered.
   */
  drain(): Promise<void>;
  /** From now on new requests get 503 `shutting_down`; the running ones end as they would. */
  refuseNew(): void;
  /** Ends every connection that is still open. */
  close(): Promise<void>;
};

/** Answers requests by `routing` as it is at their arrival. Throws where the address cannot be used. */
export function openFunctionServer(options: {
  config: ServeConfig;
  routing: Routing;
  figures: EdgeFigures;
  clock: Clock;
  random: RandomBytes;
  log: Log;
  stopListening: (port: number) => boolean;
}): FunctionServer {
  const { config, routing, figures, clock, random, log, stopListening } = options;
  const responder = createResponder({
    clock,
    requestLog: createRequestLog({ clock, log, accessLog: config.accessLog }),
    bounds: {
      bytesMax: REQUEST_BOUNDS.responseHeadersBytesMax,
      countMax: REQUEST_BOUNDS.responseHeadersCountMax,
    },
    countRefused: figures.refused,
    countQuotaRefused: figures.quotaRefused,
  });
  const bodies = createBodies({ clock, limits: config });
  const invoker = createInvoker({ routing, bodies, responder, clock });
  const ingress = createIngress({ routing, invoker, responder, clock, random, limits: config });
  const { handle, refuseNew } = ingress;
  const { listen, requestBytesMax } = config;
  const { port, drain, close } = openPublicListener({
    listen,
    handle,
    clock,
    log,
    requestBytesMax,
    stopListening,
    unfinished: () => bodies.unfinished(),
  });
  return { port, refuseNew, drain, close };
}
