// Log lines of requests: what guests wrote, what failed, and, when asked for, every answer; bounded per
// second.
import type { Clock } from '../../base/clock.ts';
import type { ErrorCode } from '../../base/errors.ts';
import { ERRORS } from '../../base/errors.ts';
import { EDGE_BOUNDS } from '../../base/limits/edge.ts';
import type { Log, LogFields } from '../../base/log.ts';
import type { InvocationLogs } from '../../model/invocation.ts';
import { createLogBudget } from './log_budget.ts';

/** `all` writes a line for each answer, `errors` only for those that failed. */
export type AccessLog = 'all' | 'errors';

type Subject = { functionId: string; version: string };
type End = { requestId: string; target: Subject; method: string; elapsedMs: number };

export type RequestLog = {
  answered(end: End & { status: number }): void;
  /** `detail` says more than the client is told; it names no host path. */
  failed(end: End & { code: ErrorCode; detail: string | null }): void;
  /** Lines of one invocation, at the level that the guest gave them. */
  guest(requestId: string, target: Subject, logs: InvocationLogs): void;
};

const LEVELS = ['debug', 'debug', 'info', 'warn', 'error'] as const;

export function createRequestLog(options: { clock: Clock; log: Log; accessLog: AccessLog }): RequestLog {
  const { clock, log, accessLog } = options;
  const linesPerSecondMax = EDGE_BOUNDS.logLinesPerSecondMax;
  const own = createLogBudget({ clock, log, linesPerSecondMax });
  const guests = createLogBudget({ clock, log, linesPerSecondMax });
  const subject = (requestId: string, { functionId, version }: Subject): LogFields => ({
    request_id: requestId,
    function_id: functionId,
    version,
  });
  const fieldsOf = ({ requestId, target, method, elapsedMs }: End, status: number): LogFields => ({
    ...subject(requestId, target),
    method,
    status,
    started_at: new Date(clock.nowMs() - elapsedMs).toISOString(),
    ended_at: new Date(clock.nowMs()).toISOString(),
    duration_ms: Math.round(elapsedMs * 1_000) / 1_000,
  });
  return {
    answered(end) {
      if (accessLog === 'all' && own.take()) log.info('answered', fieldsOf(end, end.status));
    },
    failed(end) {
      if (!own.take()) return;
      const { code, detail } = end;
      log.warn('invocation failed', { ...fieldsOf(end, ERRORS[code].status), error: code, detail });
    },
    guest(requestId, target, logs) {
      for (const { level, text } of logs.lines) {
        if (!guests.take()) continue;
        log[LEVELS[level] ?? 'info'](text, { source: 'guest', ...subject(requestId, target) });
      }
      if (logs.dropped > 0 && guests.take()) {
        log.warn('guest log lines were dropped', {
          ...subject(requestId, target),
          dropped_count: logs.dropped,
        });
      }
    },
  };
}
