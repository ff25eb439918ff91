// What a client gets: the outcome of an invocation, or a refusal, as an HTTP response of this product.
import type { Clock } from '../../base/clock.ts';
import type { EdgeErrorCode, ErrorCode } from '../../base/errors.ts';
import { errorResponse } from '../../base/errors.ts';
import type { RequestHead } from '../../model/http/headers.ts';
import type { InvocationOutcome } from '../../model/invocation.ts';
import type { Admission } from '../../model/rules/quota.ts';
import { createAnswerHeads } from './answer_head.ts';
import type { RequestLog } from './request_log.ts';
import type { AssignedVersion, Readiness, ReadyVersion } from './routing.ts';

/** A request whose head has been read. */
export type ReceivedRequest = {
  request: Request;
  method: string;
  /** Path and query (RFC 9112, 3.2). */
  target: string;
  head: RequestHead;
  requestId: string;
  /** Monotonic. */
  receivedMs: number;
};

type QuotaRefusal = Extract<Admission, { admitted: false }>;
type Unready = Extract<Readiness, { ready: false }>;

export type Responder = {
  /** For a request that reached no function. */
  refuse(code: EdgeErrorCode, requestId: string, headers?: Record<string, string>): Response;
  refuseQuota(received: ReceivedRequest, ready: ReadyVersion, refusal: QuotaRefusal): Response;
  refuseUnready(received: ReceivedRequest, assigned: AssignedVersion, unready: Unready): Response;
  /** Counts the invocation and writes its log lines. `invokedMs` is when the pool was asked. */
  answer(
    received: ReceivedRequest,
    ready: ReadyVersion,
    outcome: InvocationOutcome,
    invokedMs: number,
  ): Response;
};

/** Statuses whose responses have no body (Fetch, "null body status"). */
const NULL_BODY: ReadonlySet<number> = new Set([204, 205, 304]);
const UNAVAILABLE_RETRY_MS = 1_000;

/** `ms` in whole seconds (RFC 9110, 10.2.3), at least one. */
export function retryAfter(ms: number): { 'retry-after': string } {
  return { 'retry-after': String(Math.max(1, Math.ceil(ms / 1_000))) };
}

/** draft-ietf-httpapi-ratelimit-headers: the limit, that nothing is left of it, and for how many seconds. */
function quotaHeaders({ code, limit, retryAfterMs }: QuotaRefusal): Record<string, string> {
  const wait = retryAfter(retryAfterMs);
  const name = code === 'quota_invocations' ? '"minute"' : '"concurrent"';
  const policy = code === 'quota_invocations' ? `${name};q=${limit};w=60` : `${name};q=${limit}`;
  return { ...wait, 'ratelimit-policy': policy, ratelimit: `${name};r=0;t=${wait['retry-after']}` };
}

const namesOf = ({ functionId, version }: AssignedVersion): Record<string, string> => ({
  'x-edge-function': functionId,
  'x-edge-version': version,
});

/** Server-Timing (W3C): the time before the pool was asked, and the time until it answered. */
function timingOf(receivedMs: number, invokedMs: number, elapsedMs: number): string {
  return `edge;dur=${(invokedMs - receivedMs).toFixed(3)}, function;dur=${elapsedMs.toFixed(3)}`;
}

type Failure = Exclude<InvocationOutcome, { kind: 'answer' }> | { kind: 'bad_head'; refusal: string };

/** The code of a failure, what the log may say of it beyond that, and when the client may try again. */
function describe(failure: Failure): {
  code: ErrorCode;
  detail: string | null;
  retryAfterMs: number | null;
} {
  switch (failure.kind) {
    case 'bad_head':
      return { code: 'invalid_guest_response', detail: failure.refusal, retryAfterMs: null };
    case 'refused':
      return { code: failure.code, detail: null, retryAfterMs: null };
    case 'fault':
      return { code: failure.code, detail: failure.detail, retryAfterMs: null };
    case 'busy':
      return { code: 'queue_full', detail: null, retryAfterMs: failure.retryAfterMs };
    case 'unavailable':
      return { code: failure.code, detail: null, retryAfterMs: UNAVAILABLE_RETRY_MS };
  }
}

export function createResponder(options: {
  clock: Clock;
  requestLog: RequestLog;
  bounds: { bytesMax: number; countMax: number };
  countRefused: (code: ErrorCode) => void;
  countQuotaRefused: (code: ErrorCode) => void;
}): Responder {
  const { clock, requestLog, bounds, countRefused, countQuotaRefused } = options;
  const heads = createAnswerHeads({ bounds });
  return {
    refuse(code, requestId, headers = {}) {
      countRefused(code);
      const ending = code === 'bad_request' ? { connection: 'close' } : {};
      return errorResponse(code, requestId, { headers: { ...headers, ...ending } });
    },
    refuseQuota({ requestId }, ready, refusal) {
      countQuotaRefused(refusal.code);
      const headers = { ...namesOf(ready), ...quotaHeaders(refusal) };
      return errorResponse(refusal.code, requestId, { headers });
    },
    refuseUnready({ requestId }, assigned, { code, retryAfterMs }) {
      assigned.figures.failed(code);
      const headers = { ...namesOf(assigned), ...retryAfter(retryAfterMs) };
      return errorResponse(code, requestId, { headers });
    },
    answer(received, ready, outcome, invokedMs) {
      const { requestId, method, receivedMs } = received;
      const elapsedMs = clock.monotonicMs() - invokedMs;
      ready.figures.invoked(elapsedMs);
      if ('logs' in outcome && outcome.logs !== null) requestLog.guest(requestId, ready, outcome.logs);
      const end = { requestId, ready, method, elapsedMs };
      const timing = received.head.timingAsked ? timingOf(receivedMs, invokedMs, elapsedMs) : null;
      let failure: Failure;
      if (outcome.kind === 'answer') {
        const { status } = outcome;
        const head = heads.of(ready, requestId, status, outcome.headers);
        if (head.ok) {
          requestLog.answered({ ...end, status });
          const headers = timing === null ? head.headers : new Headers(head.headers);
          if (timing !== null) headers.append('server-timing', timing);
          const body = NULL_BODY.has(status) ? null : outcome.body;
          return new Response(body as Uint8Array<ArrayBuffer> | null, { status, headers });
        }
        failure = { kind: 'bad_head', refusal: head.refusal };
      } else {
        failure = outcome;
      }
      const { code, detail, retryAfterMs } = describe(failure);
      ready.figures.failed(code);
      requestLog.failed({ ...end, code, detail });
      const headers = {
        ...namesOf(ready),
        ...(timing === null ? {} : { 'server-timing': timing }),
        ...(retryAfterMs === null ? {} : retryAfter(retryAfterMs)),
      };
      return errorResponse(code, requestId, { headers });
    },
  };
}
