// Log lines of requests: what guests wrote, what failed and, where asked for, every answer; bounded.
import type { Clock } from '../../base/clock.ts';
import type { ErrorCode } from '../../base/errors.ts';
import { ERRORS } from '../../base/errors.ts';
import { EDGE_BOUNDS } from '../../base/limits/edge.ts';
import type { Log, LogFields } from '../../base/log.ts';
import type { InvocationLogs } from '../../model/invocation.ts';
import { createLogBudget } from './log_budget.ts';
import type { ReadyVersion } from './routing.ts';

/** `all` writes a line for each answer, `errors` only for those that failed. */
export type AccessLog = 'all' | 'errors';

type InvocationEnd = { requestId: string; ready: ReadyVersion; method: string; elapsedMs: number };

export type RequestLog = {
  answered(end: InvocationEnd & { status: number }): void;
  /** `detail` says more than the client learns; it names no path of the host. */
  failed(end: InvocationEnd & { code: ErrorCode; detail: string | null }): void;
  /** The lines of one invocation, at the levels that the guest gave them. */
  guest(requestId: string, ready: ReadyVersion, logs: InvocationLogs): void;
};

/** By the guest's level, 0 (trace) to 4 (error). */
const LEVELS = ['debug', 'debug', 'info', 'warn', 'error'] as const;

const namesOf = (requestId: string, { functionId, version }: ReadyVersion): LogFields => ({
  request_id: requestId,
  function_id: functionId,
  version,
});

/** Guests have a budget of their own, so that their lines never displace those of failures. */
export function createRequestLog(options: { clock: Clock; log: Log; accessLog: AccessLog }): RequestLog {
  const { clock, log, accessLog } = options;
  const { logLinesPerSecondMax: linesPerSecondMax, logLinesOfQuietMax: linesOfQuietMax } = EDGE_BOUNDS;
  const budget = { clock, log, linesPerSecondMax, linesOfQuietMax };
  const requestBudget = createLogBudget(budget);
  const guestBudget = createLogBudget(budget);
  const fieldsOf = ({ requestId, ready, method, elapsedMs }: InvocationEnd, status: number): LogFields => ({
    ...namesOf(requestId, ready),
    method,
    status,
    started_at: new Date(clock.nowMs() - elapsedMs).toISOString(),
    ended_at: new Date(clock.nowMs()).toISOString(),
    duration_ms: Math.round(elapsedMs * 1_000) / 1_000,
  });
  return {
    answered(end) {
      if (accessLog === 'all' && requestBudget.take(end.ready.quota))
        log.info('answered', fieldsOf(end, end.status));
    },
    failed(end) {
      if (!requestBudget.take(end.ready.quota)) return;
      const { code, detail } = end;
      log.warn('invocation failed', { ...fieldsOf(end, ERRORS[code].status), error: code, detail });
    },
    guest(requestId, ready, logs) {
      const names = namesOf(requestId, ready);
      for (const { level, text } of logs.lines) {
        if (!guestBudget.take(ready.quota)) continue;
        log[LEVELS[level] ?? 'info'](text, { source: 'guest', ...names });
      }
      if (logs.dropped > 0 && guestBudget.take(ready.quota)) {
        log.warn('guest log lines were dropped', { ...names, dropped_count: logs.dropped });
      }
    },
  };
}
