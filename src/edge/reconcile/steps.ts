// The steps of a plan, one by one, on one function: pull, prepare, open, drain, evict.
import type { GuestErrorCode, ModuleErrorCode } from '../../base/errors.ts';
import { POOL_DEFAULTS } from '../../base/limits/pool.ts';
import type { Log } from '../../base/log.ts';
import type { Engine } from '../../engine/engine.ts';
import type { ArtifactCache } from './cache.ts';
import type { EdgeFigures } from '../figures/figures.ts';
import type { Puller } from './pull.ts';
import type { Candidate, Running, Unit } from './function_state.ts';

/**
 * A step did not succeed; it has left a valid state behind. `isFinal`: trying again at once would not help.
 */
export class StepFailure extends Error {
  readonly code: ModuleErrorCode | GuestErrorCode | 'artifact_unavailable' | 'internal';
  readonly isFinal: boolean;

  constructor(code: StepFailure['code'], options: { message: string; isFinal: boolean }) {
    super(options.message);
    this.code = code;
    this.isFinal = options.isFinal;
  }
}

export type Steps = {
  /** Brings the artifact into `candidate.bytes`, from the cache or from the network. */
  pull(candidate: Candidate): Promise<void>;
  prepare(candidate: Candidate): Promise<void>;
  /** Opens the pool and warms it; a pool that cannot be warmed is closed again. */
  open(candidate: Candidate): Promise<void>;
  /** Frees what a candidate that will not serve has brought. */
  discard(unit: Unit): Promise<void>;
  /** Starts to end the retired pools and does not wait for it; what runs in them has until its deadline. */
  drain(unit: Unit): void;
  /** Ends what serves, and gives what runs there `graceMs` at most. */
  stop(unit: Unit, options: { graceMs: number }): void;
  /** Resolves when every pool that was being drained is gone. */
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

/** The cache first, then the network; what came from there is stored before it is used. */
function createPull(options: { cache: ArtifactCache; puller: Puller; log: Log }): Steps['pull'] {
  const { cache, puller, log } = options;
  return async (candidate) => {
    const { function_id: functionId, version, sha256 } = candidate.desired;
    const ref = { functionId, version, sha256 };
    candidate.bytes = await cache.get(ref);
    if (candidate.bytes === null) {
      const pulled = await puller.pull(candidate.desired);
      if (!pulled.ok) {
        const isFinal = pulled.reason === 'mismatch';
        throw new StepFailure('artifact_unavailable', { message: pulled.message, isFinal });
      }
      const stored = await cache.put(ref, pulled.bytes);
      if (stored === 'no_room') log.warn('the cache has no room', { function_id: functionId, version });
      candidate.bytes = pulled.bytes;
    }
    candidate.stage = 'pulled';
  };
}

export function createSteps(options: {
  engine: Engine;
  cache: ArtifactCache;
  puller: Puller;
  figures: EdgeFigures;
  log: Log;
}): Steps {
  const { engine, cache, puller, figures, log } = options;
  const drainer = createDrainer(log);
  return {
    pull: createPull({ cache, puller, log }),
    async prepare(candidate) {
      const { bytes, desired } = candidate;
      if (bytes === null) throw new Error('prepare comes after pull');
      const input = { artifact: bytes, sha256: desired.sha256, settings: desired.settings };
      const prepared = await engine.prepare(input);
      candidate.bytes = null;
      if (!prepared.ok) {
        figures.prepared('refused', 0);
        throw new StepFailure(prepared.code, { message: prepared.message, isFinal: true });
      }
      figures.prepared(prepared.code.execution, prepared.code.compiledMs / 1_000);
      candidate.code = prepared.code;
      candidate.stage = 'prepared';
    },
    async open(candidate) {
      const { code, desired } = candidate;
      if (code === null) throw new Error('open comes after prepare');
      const { function_id: functionId, project_id: projectId, version, settings } = desired;
      const pool = engine.openPool({ ref: { functionId, projectId, version }, code, settings });
      candidate.pool = pool;
      const warmed = await pool.warm(POOL_DEFAULTS.workersMin);
      if (!warmed.ok) {
        const message = warmed.detail ?? 'the function could not be started';
        throw new StepFailure(warmed.code, { message, isFinal: true });
      }
      candidate.stage = 'open';
    },
    async discard(unit) {
      const { candidate } = unit;
      unit.candidate = null;
      if (candidate === null || candidate.code === null) return;
      const { pool, code, desired } = candidate;
      if (pool === null) code.close();
      else await drainer.end({ pool, code, desired }, { graceMs: 0 });
    },
    drain(unit) {
      for (const running of unit.retired.splice(0)) {
        void drainer.end(running, { graceMs: running.desired.settings.max_execution_ms });
      }
    },
    stop(unit, grace) {
      const { serving } = unit;
      unit.serving = null;
      if (serving !== null) void drainer.end(serving, grace);
    },
    drained: drainer.drained,
  };
}
