// What the exit of a compile child says about the module, and how often an abort is tried again; pure.
import { COMPILE_BOUNDS } from '../../base/limits/compile.ts';
import type { ProcessExit } from '../ring/process_exit.ts';

/** Exit codes of a compile child (`enum edge_compile_exit`). */
export const COMPILE_EXIT = { done: 0, refused: 50, io: 51, sandbox: 52, limit: 53, aborted: 54 } as const;

/**
 * SIGKILL comes from a machine without memory, SIGBUS from a file without room, SIGSYS from a sandbox that is
 * too tight. A child that reaches a limit of its own exits with `limit`.
 */
const SIGNALS_OF_THE_NODE: readonly number[] = [7, 9, 31];

/**
 * `done`: the file is complete. `gave_up`: this module does not compile within the limits, and never will.
 * `failed`: the node could not do its part; the same module may compile at another time. `aborted`: LLVM ended
 * itself, for want of memory or because it crashes on this module, which its exit does not tell apart.
 */
export function compileVerdict({ how, value }: ProcessExit): 'done' | 'gave_up' | 'failed' | 'aborted' {
  if (how === 'exited' && value === COMPILE_EXIT.aborted) return 'aborted';
  if (how === 'signalled') return SIGNALS_OF_THE_NODE.includes(value) ? 'failed' : 'gave_up';
  if (how === 'not_forked') return 'failed';
  if (value === COMPILE_EXIT.done) return 'done';
  return value === COMPILE_EXIT.io || value === COMPILE_EXIT.sandbox ? 'failed' : 'gave_up';
}

/** The aborts of each module, by the name of its code. */
export type Aborts = {
  /** `gave_up` after the last abort that is tried again; `wait` for a while after each. */
  mayTry(name: string, nowMs: number): 'yes' | 'wait' | 'gave_up';
  /** The compiler has aborted; returns how often it has by now. */
  count(name: string, nowMs: number): number;
};

/** Forgets the module that aborted first where too many have. */
export function createAborts(): Aborts {
  const { abortPauseMs, abortsMax, abortNamesMax } = COMPILE_BOUNDS;
  const known = new Map<string, { times: number; atMs: number }>();
  return {
    mayTry(name, nowMs) {
      const { times, atMs } = known.get(name) ?? { times: 0, atMs: -Infinity };
      if (times >= abortsMax) return 'gave_up';
      return nowMs - atMs < abortPauseMs * 2 ** (times - 1) ? 'wait' : 'yes';
    },
    count(name, nowMs) {
      const times = (known.get(name)?.times ?? 0) + 1;
      known.delete(name);
      known.set(name, { times, atMs: nowMs });
      const [first] = known.keys();
      if (known.size > abortNamesMax && first !== undefined) known.delete(first);
      return times;
    },
  };
}
