// Compiles a version again that serves from the interpreter because the node could not compile it.
import type { Clock } from '../../base/clock.ts';
import { EDGE_TUNING } from '../../base/limits/edge.ts';
import type { Log } from '../../base/log.ts';
import { backoffMs } from '../../base/retry.ts';
import type { Candidate, FunctionState, Recompile, Running } from './function_state.ts';
import { createRunQueue } from './run_queue.ts';
import type { Steps } from './steps.ts';

const BACKOFF = {
  delayMsMin: EDGE_TUNING.recompileDelayMsMin,
  delayMsMax: EDGE_TUNING.recompileDelayMsMax,
};

export type Recompiles = {
  /** Begins the first wait where the code that serves is a stand-in, and ends any other. */
  begin(state: FunctionState): void;
  /** Ends the wait or the compile of the version that served, and frees what it has made. */
  end(state: FunctionState): void;
  /** What was compiled becomes the candidate, unless there is one. */
  adopt(state: FunctionState): void;
  /** The version that was compiled did not come up: waits for the next try, or gives up. */
  failed(state: FunctionState): void;
  /** Resolves when nothing is compiled any more; called after `signal` has aborted. */
  close(): Promise<void>;
};

/**
 * Compiles beside the steps of the function, which never wait for it: `onCompiled` is called when there is
 * code for them to go on with.
 */
export function createRecompiles(options: {
  clock: Clock;
  /** In [0, 1). */
  random: () => number;
  signal: AbortSignal;
  log: Log;
  compile: Steps['compile'];
  onCompiled: (state: FunctionState) => void;
}): Recompiles {
  const { clock, log, onCompiled, random, signal } = options;

  const wait = (state: FunctionState, attempt: number): void => {
    const recompile: Recompile = {
      attempt,
      cancel: new AbortController(),
      candidate: null,
      isCompiled: false,
    };
    state.recompile = recompile;
    const delayMs = Math.ceil(backoffMs(attempt - 1, BACKOFF, random));
    void clock.sleep(delayMs, AbortSignal.any([signal, recompile.cancel.signal])).then(() => {
      if (state.recompile === recompile && !signal.aborted) queue.add({ state, recompile });
    });
  };

  const next = (state: FunctionState): void => {
    const { functionId, recompile, serving } = state;
    const attempt = (recompile?.attempt ?? 0) + 1;
    if (attempt <= EDGE_TUNING.recompilesMax) return wait(state, attempt);
    state.recompile = null;
    const version = serving?.desired.version ?? null;
    log.warn('a version stays in the interpreter', { function_id: functionId, version, attempts: attempt });
  };

  const run = async ({ state, recompile }: { state: FunctionState; recompile: Recompile }): Promise<void> => {
    const { serving } = state;
    if (state.recompile !== recompile || serving === null) return;
    const cancel = AbortSignal.any([signal, recompile.cancel.signal]);
    const candidate = await compileOrLog(serving, { ...options, signal: cancel });
    const isWanted = state.recompile === recompile && !signal.aborted;
    if (isWanted && candidate?.code?.execution === 'aot') {
      recompile.candidate = candidate;
      recompile.isCompiled = true;
      return onCompiled(state);
    }
    candidate?.code?.close();
    if (!isWanted) return;
    // A module that was given up is no stand-in any more: it stays in the interpreter.
    if (candidate === null || candidate.code?.isStandIn === true) next(state);
    else state.recompile = null;
  };
  const queue = createRunQueue({ parallelMax: EDGE_TUNING.recompileParallelMax, run });
  queue.start();

  return {
    begin(state) {
      end(state);
      if (state.serving?.code.isStandIn === true) wait(state, 1);
    },
    end,
    adopt,
    failed: next,
    close: () => queue.close(),
  };
}

function end(state: FunctionState): void {
  state.recompile?.cancel.abort();
  state.recompile?.candidate?.code?.close();
  state.recompile = null;
}

function adopt(state: FunctionState): void {
  if (state.recompile === null || state.candidate !== null) return;
  state.candidate = state.recompile.candidate;
  state.recompile.candidate = null;
}

/** Null where the try has failed. */
async function compileOrLog(
  running: Running,
  { compile, log, signal }: { compile: Steps['compile']; log: Log; signal: AbortSignal },
): Promise<Candidate | null> {
  try {
    return await compile(running, signal);
  } catch (failure) {
    const { function_id, version } = running.desired;
    if (!signal.aborted)
      log.warn('a version could not be compiled again', { function_id, version, error: String(failure) });
    return null;
  }
}
