// What ended a request or a start, from the numbers of a worker to codes of the error table; pure.
import type { GuestErrorCode } from '../../base/errors.ts';
import { REQUEST_BOUNDS } from '../../base/limits/request.ts';
import { refuseResponseHeader, refuseStatus } from '../../model/http/headers.ts';
import type { GuestFault } from '../../model/invocation.ts';

/** States of a slot (`enum edge_slot_state`). */
export const SLOT = { free: 0, starting: 1, ready: 2, request: 3, done: 4, failed: 5, running: 6 } as const;

export const RESULT_ANSWER = 0;

/** What a guest gave that an answer may not have (`enum edge_refusal`). */
export const REFUSAL = { none: 0, status: 1, header: 2, room: 3, length: 4 } as const;

/** The words of a worker on a fault, none of which is checked; `subject` is its text, decoded as Latin-1. */
export type FaultWords = { detail: number; status: number; subject: string };

type Row = readonly [code: GuestErrorCode, detail: (words: FaultWords) => string | null];

/** Names of WASI functions; a worker may have written anything else. */
const FUNCTION_NAME = /^[a-z0-9_]{1,64}$/;

const noDetail = (): null => null;
const wasmedge = ({ detail }: FaultWords): string => `WasmEdge error 0x${(detail >>> 0).toString(16)}`;

/** The rules of the edge say why: a worker names only what it refused. */
function refusalOf({ detail, status, subject }: FaultWords): string | null {
  const name = subject.toLowerCase();
  const refusal = refuseResponseHeader(name, '');
  switch (detail) {
    case REFUSAL.status:
      return refuseStatus(status | 0);
    case REFUSAL.header:
      return refusal ?? refuseResponseHeader(name, '\n');
    case REFUSAL.room:
      if (refusal !== null) return refusal;
      return `header "${name}" does not fit: all headers together may have ${REQUEST_BOUNDS.responseHeadersBytesMax} bytes`;
    case REFUSAL.length:
      return 'response_header was called with a negative length';
    default:
      return null;
  }
}

/** By number of `enum edge_result`; 0 is an answer. */
const ROWS: readonly (Row | null)[] = [
  null,
  ['trap_unreachable', noDetail],
  ['trap_out_of_bounds', noDetail],
  ['trap_arithmetic', noDetail],
  ['trap_indirect_call', noDetail],
  ['guest_trap', wasmedge],
  ['guest_error', ({ detail }) => `it answered ${detail}`],
  ['guest_bad_pointer', noDetail],
  ['response_length_invalid', ({ detail }) => `it answered ${detail} bytes`],
  ['response_too_large', noDetail],
  ['invalid_guest_response', refusalOf],
  ['host_call_limit', noDetail],
  ['wasi_denied', ({ subject }) => (FUNCTION_NAME.test(subject) ? `it called ${subject}` : null)],
  ['guest_exited', ({ detail }) => `exit code ${detail}`],
  ['guest_memory_exhausted', noDetail],
  ['guest_start_failed', (words) => `it could not be loaded: ${wasmedge(words)}`],
  ['guest_start_failed', (words) => `it could not be instantiated: ${wasmedge(words)}`],
];

/** The fault of a request. A worker that gives a number without a row counts as crashed. */
export function requestFault(result: number, words: FaultWords): GuestFault {
  const row = ROWS[result];
  if (row === undefined || row === null) return { code: 'guest_crashed', detail: null };
  return { code: row[0], detail: row[1](words) };
}

/** The fault of a start: a trap of the start function is a failed start. */
export function startFault(result: number, words: FaultWords): GuestFault {
  const fault = requestFault(result, words);
  if (fault.code === 'guest_start_failed' || fault.code === 'guest_memory_exhausted') return fault;
  const cause = fault.detail === null ? fault.code : `${fault.code}: ${fault.detail}`;
  return { code: 'guest_start_failed', detail: `the start function ended with ${cause}` };
}
