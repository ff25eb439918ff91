// From a matched request to the answer of its pool: the body, the wait for a version, the quota, the
// deadline.
import type { Clock } from '../../base/clock.ts';
import { admit, release } from '../../model/rules/quota.ts';
import type { Bodies } from './body.ts';
import type { Call, Responder } from './respond.ts';
import { retryAfter } from './respond.ts';
import type { Readiness, ReadyTarget, Routing, Target } from './routing.ts';

export type Invoker = {
  /** For a request without a body, to a version that is there: the hot path. */
  invoke(call: Call, target: ReadyTarget): Promise<Response>;
  /** For a request without a body, to a version that is on its way. */
  invokeWhenReady(call: Call, target: Target): Promise<Response>;
  /** `address` is the URL without its query: routes may have moved while the body came. */
  readThenInvoke(call: Call, address: string): Promise<Response>;
};

const RETRY_MS = 1_000;

/** Waits for a version that is on its way, no longer than the request may last. */
async function awaitReady(clock: Clock, target: Target, deadlineMs: number): Promise<Readiness> {
  if (target.pool !== null) return { ready: true, target };
  const decided = new AbortController();
  const late = clock
    .sleep(Math.max(0, deadlineMs - clock.monotonicMs()), decided.signal)
    .then((): Readiness => ({ ready: false, code: 'not_ready', retryAfterMs: RETRY_MS }));
  try {
    return await Promise.race([target.whenReady(), late]);
  } finally {
    decided.abort();
  }
}

export function createInvoker(options: {
  routing: Routing;
  bodies: Bodies;
  responder: Responder;
  clock: Clock;
}): Invoker {
  const { routing, bodies, responder, clock } = options;

  /** `startMs` is when the time of the function began to run. */
  const run = async (
    call: Call,
    target: ReadyTarget,
    body: Uint8Array | null,
    startMs: number,
  ): Promise<Response> => {
    const admission = admit(target.quota, startMs);
    if (!admission.admitted) return responder.refuseQuota(call, target, admission);
    try {
      const { requestId, path, method, head } = call;
      const headers = body === null ? head.text : `${head.text}content-length: ${body.byteLength}\r\n`;
      const deadlineMs = startMs + target.maxExecutionMs;
      const calledMs = clock.monotonicMs();
      const outcome = await target.pool.invoke({ requestId, method, path, headers, body }, deadlineMs);
      return responder.answer(call, target, outcome, calledMs);
    } finally {
      release(target.quota);
    }
  };

  const runWhenReady = async (call: Call, target: Target, body: Uint8Array | null): Promise<Response> => {
    const startMs = clock.monotonicMs();
    const readiness = await awaitReady(clock, target, startMs + target.maxExecutionMs);
    if (readiness.ready) return await run(call, readiness.target, body, startMs);
    return responder.refuseUnready(call, target, readiness);
  };

  /** The time to execute starts when the body is there; routes may have moved while it came. */
  const readThenInvoke = async (call: Call, address: string): Promise<Response> => {
    const read = await bodies.read(call.request, call.head.contentLength);
    if (!read.ok) {
      return responder.refuse(
        read.code,
        call.requestId,
        read.code === 'bodies_full' ? retryAfter(RETRY_MS) : {},
      );
    }
    try {
      const match = routing.match(address, call.method);
      if (match.kind !== 'match') return responder.refuse('route_not_found', call.requestId);
      return await runWhenReady(call, match.target.current, read.body);
    } finally {
      bodies.release(read.body);
    }
  };

  return {
    invoke: (call, target) => run(call, target, null, call.receivedMs),
    invokeWhenReady: (call, target) => runWhenReady(call, target, null),
    readThenInvoke,
  };
}
