// What a client gets: the outcome of a pool, or a refusal, as an HTTP response with the headers of this
// product.
import type { Clock } from '../../base/clock.ts';
import type { EdgeErrorCode, ErrorCode } from '../../base/errors.ts';
import { errorResponse } from '../../base/errors.ts';
import type { RequestHead } from '../../model/http/headers.ts';
import type { InvocationOutcome } from '../../model/invocation.ts';
import type { Admission } from '../../model/rules/quota.ts';
import { createAnswerHeads } from './answer_head.ts';
import type { EdgeFigures } from '../figures/figures.ts';
import type { RequestLog } from './request_log.ts';
import type { ReadyTarget, Target } from './routing.ts';

/** What is known of a request once its head has been read; times are monotonic milliseconds. */
export type Call = {
  request: Request;
  method: string;
  path: string;
  head: RequestHead;
  requestId: string;
  receivedMs: number;
};

export type Refusal = Extract<Admission, { admitted: false }>;

export type Responder = {
  /** For a request that reached no function. */
  refuse(code: EdgeErrorCode, requestId: string, headers?: Record<string, string>): Response;
  refuseQuota(call: Call, target: Target, refusal: Refusal): Response;
  refuseUnready(
    call: Call,
    target: Target,
    why: { code: 'not_ready' | 'artifact_unavailable'; retryAfterMs: number },
  ): Response;
  /** `calledMs` is when the pool was asked. Counts the invocation and writes its log lines. */
  answer(call: Call, target: ReadyTarget, outcome: InvocationOutcome, calledMs: number): Response;
};

const NULL_BODY: ReadonlySet<number> = new Set([204, 205, 304]);
const UNAVAILABLE_RETRY_MS = 1_000;

/** Whole seconds (RFC 9110, 10.2.3), at least one. */
export function retryAfter(ms: number): { 'retry-after': string } {
  return { 'retry-after': String(Math.max(1, Math.ceil(ms / 1_000))) };
}

/**
 * draft-ietf-httpapi-ratelimit-headers: the limit, that nothing is left of it, and the seconds until there
 * is.
 */
function quotaHeaders({ code, limit, retryAfterMs }: Refusal): Record<string, string> {
  const wait = retryAfter(retryAfterMs);
  const name = code === 'quota_invocations' ? '"minute"' : '"concurrent"';
  const policy = code === 'quota_invocations' ? `${name};q=${limit};w=60` : `${name};q=${limit}`;
  return { ...wait, 'ratelimit-policy': policy, ratelimit: `${name};r=0;t=${wait['retry-after']}` };
}

const namesOf = (target: Target): Record<string, string> => ({
  'x-edge-function': target.functionId,
  'x-edge-version': target.version,
});

/** Server-Timing (W3C): the time before the pool was asked, and the time until it answered. */
function timingOf(call: Call, calledMs: number, elapsedMs: number): string {
  return `edge;dur=${(calledMs - call.receivedMs).toFixed(3)}, function;dur=${elapsedMs.toFixed(3)}`;
}

type Failed = Exclude<InvocationOutcome, { kind: 'answer' }> | { kind: 'unfit'; refusal: string };

/** The code of an outcome without an answer, what the log may say of it, and when to try again. */
function failureOf(outcome: Failed): { code: ErrorCode; detail: string | null; retryAfterMs: number | null } {
  switch (outcome.kind) {
    case 'unfit':
      return { code: 'invalid_guest_response', detail: outcome.refusal, retryAfterMs: null };
    case 'refused':
      return { code: outcome.code, detail: null, retryAfterMs: null };
    case 'fault':
      return { code: outcome.code, detail: outcome.detail, retryAfterMs: null };
    case 'busy':
      return { code: 'queue_full', detail: null, retryAfterMs: outcome.retryAfterMs };
    case 'unavailable':
      return { code: outcome.code, detail: null, retryAfterMs: UNAVAILABLE_RETRY_MS };
  }
}

export function createResponder(options: {
  clock: Clock;
  figures: EdgeFigures;
  requestLog: RequestLog;
  bounds: { bytesMax: number; countMax: number };
}): Responder {
  const { clock, figures, requestLog, bounds } = options;
  const heads = createAnswerHeads({ bounds });
  return {
    refuse(code, requestId, headers = {}) {
      figures.refused(code);
      return errorResponse(code, requestId, { headers });
    },
    refuseQuota(call, target, refusal) {
      figures.quotaRefused(refusal.code);
      const headers = { ...namesOf(target), ...quotaHeaders(refusal) };
      return errorResponse(refusal.code, call.requestId, { headers });
    },
    refuseUnready(call, target, { code, retryAfterMs }) {
      target.figures.failed(code);
      return errorResponse(code, call.requestId, {
        headers: { ...namesOf(target), ...retryAfter(retryAfterMs) },
      });
    },
    answer(call, target, outcome, calledMs) {
      const { requestId, method } = call;
      const elapsedMs = clock.monotonicMs() - calledMs;
      target.figures.invoked(elapsedMs);
      if ('logs' in outcome && outcome.logs !== null) requestLog.guest(requestId, target, outcome.logs);
      const end = { requestId, target, method, elapsedMs };
      const timing = call.head.timingAsked ? timingOf(call, calledMs, elapsedMs) : null;
      let failed: Failed;
      if (outcome.kind === 'answer') {
        const { status } = outcome;
        const head = heads.of(target, requestId, status, outcome.headers);
        if (head.ok) {
          requestLog.answered({ ...end, status });
          const headers = timing === null ? head.headers : new Headers(head.headers);
          if (timing !== null) headers.append('server-timing', timing);
          const body = NULL_BODY.has(status) ? null : outcome.body;
          return new Response(body as Uint8Array<ArrayBuffer> | null, { status, headers });
        }
        failed = { kind: 'unfit', refusal: head.refusal };
      } else {
        failed = outcome;
      }
      const { code, detail, retryAfterMs } = failureOf(failed);
      target.figures.failed(code);
      requestLog.failed({ ...end, code, detail });
      const headers = {
        ...namesOf(target),
        ...(timing === null ? {} : { 'server-timing': timing }),
        ...(retryAfterMs === null ? {} : retryAfter(retryAfterMs)),
      };
      return errorResponse(code, requestId, { headers });
    },
  };
}
