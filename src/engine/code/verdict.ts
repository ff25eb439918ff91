// What the exit of a compile child says about the module; pure.
import type { ProcessExit } from '../process_exit.ts';

/** Exit codes of a compile child (`enum edge_compile_exit`). */
export const COMPILE_EXIT = { done: 0, refused: 50, io: 51, sandbox: 52, limit: 53 } as const;

/**
 * SIGKILL comes from a machine without memory, SIGBUS from a file without room, SIGSYS from a sandbox that is
 * too tight. A child that reaches a limit of its own exits with `limit`.
 */
const SIGNALS_OF_THE_NODE: readonly number[] = [7, 9, 31];

/**
 * `done`: the file is complete. `gave_up`: this module does not compile within the limits, and never will.
 * `failed`: the node could not do its part; the same module may compile at another time.
 */
export function compileVerdict({ how, value }: ProcessExit): 'done' | 'gave_up' | 'failed' {
  if (how === 'signalled') return SIGNALS_OF_THE_NODE.includes(value) ? 'failed' : 'gave_up';
  if (how === 'not_forked') return 'failed';
  if (value === COMPILE_EXIT.done) return 'done';
  return value === COMPILE_EXIT.io || value === COMPILE_EXIT.sandbox ? 'failed' : 'gave_up';
}
