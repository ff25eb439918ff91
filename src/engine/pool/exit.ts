// What it means that a worker ended by itself: from its exit to a code of the error table; pure.
import { POOL_BOUNDS } from '../../base/limits/pool.ts';
import type { GuestFault, InvocationLogs } from '../../model/invocation.ts';
import type { ProcessExit } from '../ring/process_exit.ts';

/** Exit codes of a worker (`enum edge_exit`). */
export const EXIT = { closed: 0, startFailed: 40, sandboxFailed: 41, protocol: 42 } as const;

const SIGABRT = 6;
const SIGBUS = 7;
const SIGKILL = 9;
const SIGSEGV = 11;

/** `isOurs`: the node is the cause, which its log reports as an error. */
export type ExitFault = GuestFault & { isOurs: boolean };

/** `isInGuest` is the worker's own word: it only chooses between codes. */
export function exitFault(exit: ProcessExit, isInGuest: boolean): ExitFault {
  const { how, value } = exit;
  if (how === 'not_forked') return { code: 'worker_lost', detail: null, isOurs: true };
  if (how === 'exited') {
    if (value === EXIT.startFailed) return { code: 'guest_start_failed', detail: null, isOurs: false };
    if (value === EXIT.sandboxFailed) return { code: 'worker_lost', detail: null, isOurs: true };
    if (value === EXIT.closed) return { code: 'worker_lost', detail: null, isOurs: false };
    return { code: 'guest_crashed', detail: null, isOurs: value === EXIT.protocol };
  }
  const detail = `signal ${value}`;
  if (value === SIGKILL) return { code: 'worker_lost', detail, isOurs: false };
  if (value === SIGABRT) return { code: 'guest_memory_exhausted', detail, isOurs: false };
  if ((value === SIGSEGV || value === SIGBUS) && isInGuest) {
    return { code: 'guest_stack_exhausted', detail, isOurs: false };
  }
  return { code: 'guest_crashed', detail, isOurs: false };
}

/** The fault of a worker that ended during its start: a crash of the start function is a failed start. */
export function startExitFault({ code, detail }: GuestFault): GuestFault {
  const isCrash = code === 'guest_crashed' || code === 'guest_stack_exhausted';
  return { code: isCrash ? 'guest_start_failed' : code, detail };
}

/** The fault of a failed start, with the end of what the guest has logged, quoted; hostile text. */
export function withLastLines({ code, detail }: GuestFault, logs: InvocationLogs | null): GuestFault {
  if (logs === null) return { code, detail };
  const { startLogLineLengthMax, startLogLinesMax } = POOL_BOUNDS;
  const last = logs.lines.slice(-startLogLinesMax);
  const shown = last.map(({ text }) => JSON.stringify(text.slice(0, startLogLineLengthMax)));
  const left = logs.lines.length - last.length + logs.dropped;
  const more = left === 0 ? '' : ` and ${left} more`;
  const logged = `it logged ${shown.join(', ')}${more}`;
  return { code, detail: detail === null ? logged : `${detail}; ${logged}` };
}
