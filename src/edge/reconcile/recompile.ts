// Compiles a version again that serves from the interpreter because the node could not compile it.
import type { Clock } from '../../base/clock.ts';
import { EDGE_TUNING } from '../../base/limits/edge.ts';
import type { Log } from '../../base/log.ts';
import { backoffMs } from '../../base/retry.ts';
import type { FunctionState, Recompile } from './function_state.ts';

const BACKOFF = {
  delayMsMin: EDGE_TUNING.recompileDelayMsMin,
  delayMsMax: EDGE_TUNING.recompileDelayMsMax,
};

export type Recompiles = {
  /** Begins the first wait where the code that serves is a stand-in, and ends any other. */
  begin(state: FunctionState): void;
  /** The try that was due has failed for a reason of the node: waits for the next, or gives up. */
  failed(state: FunctionState): void;
  /** The candidate of a try that is due came out as the interpreter again: it is not worth a switch. */
  isInVain(state: FunctionState): boolean;
};

/** `onDue` is called once for each try, after the wait before it. */
export function createRecompiles(options: {
  clock: Clock;
  /** In [0, 1). */
  random: () => number;
  signal: AbortSignal;
  log: Log;
  onDue: (state: FunctionState) => void;
}): Recompiles {
  const { clock, log, onDue, random, signal } = options;

  const wait = (state: FunctionState, attempt: number): void => {
    const recompile: Recompile = { attempt, isDue: false };
    state.recompile = recompile;
    const delayMs = Math.ceil(backoffMs(attempt - 1, BACKOFF, random));
    void clock.sleep(delayMs, signal).then(() => {
      if (state.recompile !== recompile || signal.aborted) return;
      recompile.isDue = true;
      onDue(state);
    });
  };

  return {
    begin(state) {
      if (state.serving?.code.isStandIn === true) wait(state, 1);
      else state.recompile = null;
    },
    failed(state) {
      const { functionId, recompile, serving } = state;
      const attempt = (recompile?.attempt ?? 0) + 1;
      if (attempt <= EDGE_TUNING.recompilesMax) return wait(state, attempt);
      state.recompile = null;
      const version = serving?.desired.version ?? null;
      log.warn('a version stays in the interpreter', { function_id: functionId, version, attempts: attempt });
    },
    isInVain: ({ candidate, recompile, serving }) =>
      recompile?.isDue === true &&
      candidate !== null &&
      candidate.key === serving?.key &&
      candidate.code?.execution === 'interpreter',
  };
}
