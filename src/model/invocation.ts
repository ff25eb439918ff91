// One invocation of a function: what an edge gives to the engine, and what the engine returns.
import type { GuestErrorCode } from '../base/errors.ts';

/** `target` is the path with its query; `headers` is `name: value\r\n` lines with names in lower case. */
export type InvocationRequest = {
  requestId: string;
  method: string;
  target: string;
  headers: string;
  body: Uint8Array | null;
};

/** How a guest ended a request or its own start; `detail` is for the log, a client gets the code alone. */
export type GuestFault = { code: GuestErrorCode; detail: string | null };

/** A line that a guest wrote with `log` (levels 0 trace to 4 error) or to stdout and stderr. */
export type GuestLogLine = { level: number; text: string };

export type InvocationLogs = { lines: GuestLogLine[]; dropped: number };

/**
 * `answer`: the guest answered; its headers are checked and safe to send. `fault`: the guest failed or was
 * killed. `busy`: the queue is full. `refused`: the request does not fit into a slot and was not run.
 * `unavailable`: the engine is restarting or closing.
 */
export type InvocationOutcome =
  | {
      kind: 'answer';
      status: number;
      headers: [name: string, value: string][];
      body: Uint8Array;
      logs: InvocationLogs | null;
    }
  | { kind: 'fault'; code: GuestErrorCode; detail: string | null; logs: InvocationLogs | null }
  | { kind: 'busy'; retryAfterMs: number }
  | { kind: 'refused'; code: 'request_too_large' | 'headers_too_large' }
  | { kind: 'unavailable'; code: 'engine_restarting' | 'shutting_down' };
