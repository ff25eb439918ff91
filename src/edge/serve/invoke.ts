// From a matched request to the answer of its pool: body, wait for the version, quota, deadline.
import type { Clock } from '../../base/clock.ts';
import { within } from '../../base/deadline.ts';
import { admit, type Quota, release } from '../../model/rules/quota.ts';
import type { Bodies } from './body.ts';
import type { ReceivedRequest, Responder } from './respond.ts';
import { retryAfter } from './respond.ts';
import type { AssignedVersion, Readiness, ReadyVersion, Routing } from './routing.ts';

export type Invoker = {
  /** For a request without a body, to a version that is ready: the hot path. */
  invoke(received: ReceivedRequest, ready: ReadyVersion): Promise<Response>;
  /** For a request without a body, to a version that may still be pending. */
  invokeWhenReady(received: ReceivedRequest, assigned: AssignedVersion): Promise<Response>;
  /**
   * Matches `url` (without query) again when the body is there: routes may have moved meanwhile. `quota` is that
   * of the project whose route it is now.
   */
  readThenInvoke(received: ReceivedRequest, url: string, quota: Quota): Promise<Response>;
};

const RETRY_MS = 1_000;
const LATE: Readiness = { ready: false, code: 'not_ready', retryAfterMs: RETRY_MS };

async function awaitReady(clock: Clock, assigned: AssignedVersion, deadlineMs: number): Promise<Readiness> {
  if (assigned.pool !== null) return { ready: true, version: assigned };
  const leftMs = Math.max(0, deadlineMs - clock.monotonicMs());
  const readiness = await within(clock, leftMs, assigned.whenReady());
  return readiness === 'late' ? LATE : readiness;
}

export function createInvoker(options: {
  routing: Routing;
  bodies: Bodies;
  responder: Responder;
  clock: Clock;
}): Invoker {
  const { routing, bodies, responder, clock } = options;

  /** The time limit of the function runs from `startMs`. */
  const run = async (
    received: ReceivedRequest,
    ready: ReadyVersion,
    body: Uint8Array | null,
    startMs: number,
  ): Promise<Response> => {
    const admission = admit(ready.quota, startMs);
    if (!admission.admitted) return responder.refuseQuota(received, ready, admission);
    try {
      const { requestId, target, method, head } = received;
      const headers = body === null ? head.text : `${head.text}content-length: ${body.byteLength}\r\n`;
      const deadlineMs = startMs + ready.maxExecutionMs;
      const invokedMs = clock.monotonicMs();
      const invocation = { requestId, method, target, headers, body };
      const outcome = await ready.pool.invoke(invocation, deadlineMs);
      return responder.answer(received, ready, outcome, invokedMs);
    } finally {
      release(ready.quota);
    }
  };

  const runWhenReady = async (
    received: ReceivedRequest,
    assigned: AssignedVersion,
    body: Uint8Array | null,
  ): Promise<Response> => {
    const startMs = clock.monotonicMs();
    const readiness = await awaitReady(clock, assigned, startMs + assigned.maxExecutionMs);
    if (readiness.ready) return await run(received, readiness.version, body, startMs);
    return responder.refuseUnready(received, assigned, readiness);
  };

  const readThenInvoke: Invoker['readThenInvoke'] = async (received, url, quota) => {
    const { request, method, head, requestId } = received;
    const read = await bodies.read(request, head.contentLength, quota);
    if (!read.ok) {
      const headers = read.code === 'bodies_full' ? retryAfter(RETRY_MS) : {};
      return responder.refuse(read.code, requestId, headers);
    }
    try {
      const match = routing.match(url, method);
      if (match.kind !== 'match') return responder.refuse('route_not_found', requestId);
      return await runWhenReady(received, match.target.current, read.body);
    } finally {
      bodies.release(read.body, quota);
    }
  };

  return {
    invoke: (received, ready) => run(received, ready, null, received.receivedMs),
    invokeWhenReady: (received, assigned) => runWhenReady(received, assigned, null),
    readThenInvoke,
  };
}
