// Carries out the steps of a plan on one function, except the switch of its routes.
import type { Log } from '../../base/log.ts';
import type { Engine } from '../../engine/engine.ts';
import type { Step } from '../../model/rules/plan.ts';
import type { ArtifactCache, ArtifactRef } from './cache/cache.ts';
import { StepFailure } from './failure.ts';
import { type Candidate, createCandidate, type FunctionState, type Running } from './function_state.ts';
import type { Puller } from './pull.ts';

export type Steps = {
  /** Rejects with a `StepFailure`, or with whatever went wrong inside the edge. */
  run(step: Exclude<Step, 'switch'>, state: FunctionState): Promise<void>;
  /**
   * Compiles the version that serves once more; returns it as a candidate, whose code is the caller's. Rejects
   * as `run` does. Stores nothing.
   */
  compile(running: Running, signal: AbortSignal): Promise<Candidate>;
  /** Frees what the candidate owns; never rejects. */
  discard(state: FunctionState): Promise<void>;
  /** Begins to close the retired pools; a running request may go on until its deadline. */
  drain(state: FunctionState): void;
  /** Begins to close the pool that serves; running requests may go on for `graceMs`. */
  stop(state: FunctionState, options: { graceMs: number }): void;
  /** Resolves when no pool is closing. */
  drained(): Promise<void>;
};

type Drainer = {
  /** Closes the pool, then its code; never rejects. */
  end(running: Pick<Running, 'pool' | 'code' | 'desired'>, options: { graceMs: number }): Promise<void>;
  drained(): Promise<void>;
};

function createDrainer(log: Log): Drainer {
  const draining = new Set<Promise<void>>();
  const close: Drainer['end'] = async ({ pool, code, desired }, { graceMs }) => {
    try {
      await pool.close({ graceMs });
    } catch (failure) {
      log.error('a pool did not close', { function_id: desired.function_id, error: String(failure) });
    }
    code.close();
  };
  return {
    end(running, options) {
      const ended = close(running, options).finally(() => draining.delete(ended));
      draining.add(ended);
      return ended;
    },
    async drained() {
      await Promise.all(draining);
    },
  };
}

export type StepsOptions = {
  engine: Engine;
  cache: ArtifactCache;
  puller: Puller;
  poolWorkersMin: number;
  log: Log;
  onPrepared: (result: 'aot' | 'interpreter' | 'refused', seconds: number) => void;
};

export function createSteps(options: StepsOptions): Steps {
  const { cache, log } = options;
  const drainer = createDrainer(log);

  const discard = async (state: FunctionState): Promise<void> => {
    const { candidate } = state;
    state.candidate = null;
    if (candidate === null || candidate.code === null) return;
    const { pool, code, desired } = candidate;
    if (pool === null) code.close();
    else await drainer.end({ pool, code, desired }, { graceMs: 0 });
  };

  const drain = (state: FunctionState): void => {
    for (const running of state.retired.splice(0)) {
      void drainer.end(running, { graceMs: running.desired.settings.max_execution_ms });
    }
  };

  return {
    async run(step, state) {
      const { wanted } = state;
      switch (step) {
        case 'discard':
          return await discard(state);
        case 'pull':
          if (wanted === null) return;
          state.candidate ??= createCandidate(wanted);
          return await pull(state.candidate, options);
        case 'prepare':
          if (state.candidate !== null) await prepare(state.candidate, options);
          return;
        case 'open':
          if (state.candidate !== null) await open(state.candidate, options);
          return;
        case 'drain':
          return drain(state);
        case 'evict':
          return await cache.evict(state.functionId);
      }
    },
    async compile(running, signal) {
      const candidate = createCandidate(running);
      candidate.bytes = await cached(candidate, options);
      candidate.isStored = candidate.bytes !== null;
      candidate.bytes ??= await download(candidate, options);
      await prepare(candidate, options, signal);
      return candidate;
    },
    discard,
    drain,
    stop(state, grace) {
      const { serving } = state;
      state.serving = null;
      if (serving !== null) void drainer.end(serving, grace);
    },
    drained: drainer.drained,
  };
}

const refOf = ({ desired }: Candidate): ArtifactRef => ({
  functionId: desired.function_id,
  version: desired.version,
  sha256: desired.sha256,
});

const cached = (candidate: Candidate, { cache }: StepsOptions): Promise<Uint8Array | null> =>
  cache.get(refOf(candidate));

async function download({ desired }: Candidate, { puller }: StepsOptions): Promise<Uint8Array> {
  const pulled = await puller.pull(desired);
  if (pulled.ok) return pulled.bytes;
  const isFinal = pulled.reason === 'mismatch';
  throw new StepFailure('artifact_unavailable', { message: pulled.message, isFinal });
}

/** Brings the artifact from the cache or else from the network, and stores what came from there. */
async function pull(candidate: Candidate, options: StepsOptions): Promise<void> {
  const { cache, log } = options;
  const { function_id, version } = candidate.desired;
  candidate.bytes = await cached(candidate, options);
  candidate.isStored = candidate.bytes !== null;
  if (candidate.bytes === null) {
    const bytes = await download(candidate, options);
    const stored = await cache.put(refOf(candidate), bytes);
    if (stored === 'no_room') log.warn('the cache has no room', { function_id, version });
    // Where the disk refused, the version runs from memory, until it can be stored (`store_again.ts`).
    candidate.bytes = bytes;
    candidate.isStored = stored === 'stored';
  }
  candidate.stage = 'pulled';
}

async function prepare(
  candidate: Candidate,
  { engine, onPrepared }: StepsOptions,
  signal?: AbortSignal,
): Promise<void> {
  const { bytes, desired } = candidate;
  if (bytes === null) throw new Error('prepare comes after pull');
  const input = { artifact: bytes, sha256: desired.sha256, settings: desired.settings };
  const prepared = await engine.prepare(signal === undefined ? input : { ...input, signal });
  candidate.bytes = null;
  if (!prepared.ok) {
    onPrepared('refused', 0);
    throw new StepFailure(prepared.code, { message: prepared.message, isFinal: true });
  }
  onPrepared(prepared.code.execution, prepared.code.compiledMs / 1_000);
  candidate.code = prepared.code;
  candidate.stage = 'prepared';
}

/**
 * Opens the pool and warms it, which proves that the version starts. Where some workers are ready and the
 * others are not in time, as on a node without room for them, the version serves with those that are.
 */
async function open(candidate: Candidate, { engine, poolWorkersMin, log }: StepsOptions): Promise<void> {
  const { code, desired } = candidate;
  if (code === null) throw new Error('open comes after prepare');
  const { function_id: functionId, project_id: projectId, version, settings } = desired;
  const pool = engine.openPool({ ref: { functionId, projectId, version }, code, settings });
  candidate.pool = pool;
  const warmed = await pool.warm(Math.max(1, poolWorkersMin));
  const { idle, busy } = pool.stats();
  const ready = idle + busy;
  if (!warmed.ok && ready === 0) {
    const message = warmed.detail ?? 'the function could not be started';
    throw new StepFailure(warmed.code, { message, isFinal: true });
  }
  if (!warmed.ok) {
    log.warn('a version serves with fewer workers than pool_workers_min', {
      function_id: functionId,
      version,
      workers: ready,
      pool_workers_min: poolWorkersMin,
      reason: warmed.detail,
    });
  }
  candidate.stage = 'open';
}
