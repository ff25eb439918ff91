// What every listener for functions has before its pools: bounds, bodies, answers and log lines, as one
// ingress.
import type { Clock } from '../../base/clock.ts';
import type { RandomBytes } from '../../base/id.ts';
import { REQUEST_BOUNDS } from '../../base/limits/request.ts';
import type { Log } from '../../base/log.ts';
import { createBodies, type BodyLimits } from './body.ts';
import type { EdgeFigures } from '../figures/figures.ts';
import { createIngress, type Ingress, type IngressLimits } from './ingress.ts';
import { createInvoker } from './invoke.ts';
import { createRequestLog, type AccessLog } from './request_log.ts';
import { createResponder } from './respond.ts';
import type { Routing } from './routing.ts';

export type FrontLimits = IngressLimits & BodyLimits;

export function createFront(options: {
  routing: Routing;
  figures: EdgeFigures;
  clock: Clock;
  random: RandomBytes;
  log: Log;
  limits: FrontLimits;
  accessLog: AccessLog;
}): Ingress {
  const { routing, figures, clock, random, log, limits, accessLog } = options;
  const requestLog = createRequestLog({ clock, log, accessLog });
  const bounds = {
    bytesMax: REQUEST_BOUNDS.responseHeadersBytesMax,
    countMax: REQUEST_BOUNDS.responseHeadersCountMax,
  };
  const responder = createResponder({ clock, figures, requestLog, bounds });
  const bodies = createBodies({ clock, limits });
  const invoker = createInvoker({ routing, bodies, responder, clock });
  return createIngress({ routing, invoker, responder, clock, random, limits });
}
