// What ended a request or a start, from the numbers of a worker to codes of the error table; pure.
import type { GuestErrorCode } from '../../base/errors.ts';
import type { GuestFault } from '../../model/invocation.ts';

/** States of a slot (`enum edge_slot_state`). */
export const SLOT = { free: 0, starting: 1, ready: 2, request: 3, done: 4, failed: 5, running: 6 } as const;

export const RESULT_ANSWER = 0;

type Row = readonly [code: GuestErrorCode, detail: (detail: number) => string | null];

const noDetail = (): null => null;
const wasmedge = (detail: number): string => `WasmEdge error 0x${(detail >>> 0).toString(16)}`;

/** By number of `enum edge_result`; 0 is an answer. */
const ROWS: readonly (Row | null)[] = [
  null,
  ['trap_unreachable', noDetail],
  ['trap_out_of_bounds', noDetail],
  ['trap_arithmetic', noDetail],
  ['trap_indirect_call', noDetail],
  ['guest_trap', wasmedge],
  ['guest_error', (detail) => `it answered ${detail}`],
  ['guest_bad_pointer', noDetail],
  ['response_length_invalid', (detail) => `it answered ${detail} bytes`],
  ['response_too_large', noDetail],
  ['invalid_guest_response', noDetail],
  ['host_call_limit', noDetail],
  ['wasi_denied', noDetail],
  ['guest_exited', (detail) => `exit code ${detail}`],
  ['guest_memory_exhausted', noDetail],
  ['guest_start_failed', (detail) => `it could not be loaded: ${wasmedge(detail)}`],
  ['guest_start_failed', (detail) => `it could not be instantiated: ${wasmedge(detail)}`],
];

/** The fault of a request. A worker that gives a number without a row counts as crashed. */
export function requestFault(result: number, detail: number): GuestFault {
  const row = ROWS[result];
  if (row === undefined || row === null) return { code: 'guest_crashed', detail: null };
  return { code: row[0], detail: row[1](detail) };
}

/** The fault of a start: a trap of the start function is a failed start. */
export function startFault(result: number, detail: number): GuestFault {
  const fault = requestFault(result, detail);
  if (fault.code === 'guest_start_failed' || fault.code === 'guest_memory_exhausted') return fault;
  return { code: 'guest_start_failed', detail: `the start function ended with ${fault.code}` };
}
