// What ended a request, a start or a worker, as codes of the error table; pure.
import type { GuestErrorCode } from '../../base/errors.ts';
import { HOW } from '../process/frames.ts';

/** States of a slot (`enum edge_slot_state`). */
export const SLOT = { free: 0, starting: 1, ready: 2, request: 3, done: 4, failed: 5, running: 6 } as const;

export const RESULT_ANSWER = 0;

type Row = readonly [code: GuestErrorCode, detail: (detail: number) => string | null];

const nothing = (): null => null;
const wasmedge = (detail: number): string => `WasmEdge error 0x${(detail >>> 0).toString(16)}`;

/** By number of `enum edge_result`; row 0 is the answer and never a fault. */
const ROWS: readonly (Row | null)[] = [
  null,
  ['trap_unreachable', nothing],
  ['trap_out_of_bounds', nothing],
  ['trap_arithmetic', nothing],
  ['trap_indirect_call', nothing],
  ['guest_trap', wasmedge],
  ['guest_error', (detail) => `it answered ${detail}`],
  ['guest_bad_pointer', nothing],
  ['response_length_invalid', (detail) => `it answered ${detail} bytes`],
  ['response_too_large', nothing],
  ['invalid_guest_response', nothing],
  ['host_call_limit', nothing],
  ['wasi_denied', nothing],
  ['guest_exited', (detail) => `exit code ${detail}`],
  ['guest_memory_exhausted', nothing],
  ['guest_start_failed', (detail) => `it could not be loaded: ${wasmedge(detail)}`],
  ['guest_start_failed', (detail) => `it could not be instantiated: ${wasmedge(detail)}`],
];

export type Fault = { code: GuestErrorCode; detail: string | null };

/** The fault of a request. A number that the table does not have is a worker that lies. */
export function requestFault(result: number, detail: number): Fault {
  const row = ROWS[result];
  if (row === undefined || row === null) return { code: 'guest_crashed', detail: null };
  return { code: row[0], detail: row[1](detail) };
}

/** The fault of a start: traps of the start function are failures to instantiate. */
export function startFault(result: number, detail: number): Fault {
  const fault = requestFault(result, detail);
  if (fault.code === 'guest_start_failed' || fault.code === 'guest_memory_exhausted') return fault;
  return { code: 'guest_start_failed', detail: `the start function ended with ${fault.code}` };
}

/** Exit codes of a worker (`enum edge_exit`). */
export const EXIT = { closed: 0, startFailed: 40, sandboxFailed: 41, protocol: 42 } as const;

const PHASE_GUEST = 1;
const SIGNALS = { abort: 6, bus: 7, kill: 9, segv: 11, sys: 31 } as const;

/** `isOurs`: the cause lies with the node and belongs in its log as an error. */
export type ExitFault = Fault & { isOurs: boolean };

/**
 * The fault of a worker that ended by itself; `phase` is the worker's own word and only chooses between
 * codes.
 */
export function exitFault(exit: { how: number; value: number; phase: number }): ExitFault {
  const { how, value, phase } = exit;
  if (how === HOW.notForked) return { code: 'worker_lost', detail: null, isOurs: true };
  if (how === HOW.exited) {
    if (value === EXIT.startFailed) return { code: 'guest_start_failed', detail: null, isOurs: false };
    if (value === EXIT.sandboxFailed) return { code: 'worker_lost', detail: null, isOurs: true };
    if (value === EXIT.closed) return { code: 'worker_lost', detail: null, isOurs: false };
    return { code: 'guest_crashed', detail: null, isOurs: value === EXIT.protocol };
  }
  const detail = `signal ${value}`;
  if (value === SIGNALS.kill) return { code: 'worker_lost', detail, isOurs: false };
  if (value === SIGNALS.abort) return { code: 'guest_memory_exhausted', detail, isOurs: false };
  if ((value === SIGNALS.segv || value === SIGNALS.bus) && phase === PHASE_GUEST) {
    return { code: 'guest_stack_exhausted', detail, isOurs: false };
  }
  return { code: 'guest_crashed', detail, isOurs: false };
}

/** A crash of the start function is a start that failed, unless memory or the node was the reason. */
export function startCode(fault: ExitFault): Fault['code'] {
  return fault.code === 'guest_crashed' || fault.code === 'guest_stack_exhausted'
    ? 'guest_start_failed'
    : fault.code;
}

/** Exit codes of a compile child (`enum edge_compile_exit`). */
const COMPILE = { done: 0, refused: 50, io: 51, sandbox: 52 } as const;

/**
 * `done`: the file is complete. `gave_up`: this module cannot be compiled within the limits, and never will
 * be.
 * `failed`: the node could not do its part; the same module may compile another time.
 */
export function compileVerdict(ended: { how: number; value: number }): 'done' | 'gave_up' | 'failed' {
  // A forbidden system call is the sandbox being too small, not the module being too large.
  if (ended.how === HOW.signalled) return ended.value === SIGNALS.sys ? 'failed' : 'gave_up';
  if (ended.how !== HOW.exited) return 'failed';
  if (ended.value === COMPILE.done) return 'done';
  return ended.value === COMPILE.io || ended.value === COMPILE.sandbox ? 'failed' : 'gave_up';
}
