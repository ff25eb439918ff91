// Wires the engine: the native library, the engine process, the roster of workers, the compiler, the sweep.
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/errors.ts';
import type { RandomBytes } from '../base/id.ts';
import { COMPILE_DEFAULTS } from '../base/limits/compile.ts';
import { POOL_DEFAULTS } from '../base/limits/pool.ts';
import { REQUEST_DEFAULTS } from '../base/limits/request.ts';
import type { Log } from '../base/log.ts';
import type { ModuleCheck } from '../model/wasm/check.ts';
import { openCodeCache } from './code/cache.ts';
import { type Compiler, createCompiler } from './code/compile.ts';
import { readCpuFeatures } from './code/cpu.ts';
import type { Code, Engine } from './engine.ts';
import { startEngineProcess } from './process/engine_process.ts';
import { EVENT } from './process/frames.ts';
import { geometryOf } from './ring/geometry.ts';
import { openNodeKey } from './code/node_key.ts';
import { type PoolLimits, VersionPool } from './pool/pool.ts';
import { createPreparer, type Prepared } from './code/code.ts';
import { openRingLibrary, type RingLibrary, type SealedMemory } from './ring/library.ts';
import { Roster } from './pool/roster.ts';
import { encodeStartBlock } from './pool/start_block.ts';
import { createSweep, type Sweep } from './pool/sweep.ts';
import { createZygote, type Zygote } from './process/process.ts';

/** Each has its default in `base/limits/`; `workers` is the number of workers of the node. */
export type EngineLimits = {
  workers: number;
  requestBytesMax: number;
  responseBytesMax: number;
  poolWorkersMin: number;
  poolWorkersMax: number;
  queueLengthMax: number;
  workerIdleMs: number;
  compiledBytesMax: number;
};

export type EngineOptions = {
  /** Where libedge_ring.so, libedge_engine.so and libwasmedge lie. */
  libraryDir: string;
  /** Starts this program in the engine role, as the arguments of a spawn. */
  command: readonly string[];
  /** Compiled files go to `<cacheDir>/compiled`, the key that authenticates them to `<dataDir>/node.key`. */
  cacheDir: string;
  dataDir: string;
  /** The check of an upload, done again before a compile. */
  check: ModuleCheck;
  clock: Clock;
  log: Log;
  /** In [0, 1), for jitter. */
  random: () => number;
  randomBytes: RandomBytes;
  limits?: Partial<EngineLimits>;
};

const DEFAULTS: EngineLimits = {
  workers: POOL_DEFAULTS.nodeWorkersMax,
  requestBytesMax: REQUEST_DEFAULTS.requestBytesMax,
  responseBytesMax: REQUEST_DEFAULTS.responseBytesMax,
  poolWorkersMin: POOL_DEFAULTS.workersMin,
  poolWorkersMax: POOL_DEFAULTS.workersMax,
  queueLengthMax: POOL_DEFAULTS.queueLengthMax,
  workerIdleMs: POOL_DEFAULTS.workerIdleMs,
  compiledBytesMax: COMPILE_DEFAULTS.cacheBytesMax,
};

/** While some of the workers run, the others have answered and wait for the edge. */
const WORKERS_PER_PROCESSOR = 3;

type Core = {
  roster: Roster;
  pools: Set<VersionPool>;
  sweep: Sweep;
  compiler: Compiler;
  zygote: Zygote;
  library: RingLibrary;
};

/** The parts that hear from the engine process, and the engine process. */
function createCore(options: EngineOptions, limits: EngineLimits, workDir: string): Core {
  const { clock, command, libraryDir, log, random } = options;
  const library = openRingLibrary(libraryDir);
  const geometry = geometryOf(limits);
  const roster = new Roster({ workers: limits.workers, clock, log });
  const pools = new Set<VersionPool>();
  const sweep = createSweep({ clock, roster, pools, workerIdleMs: limits.workerIdleMs });
  const seal = (bytes: Uint8Array): SealedMemory => library.seal(bytes);
  const compiler = createCompiler({ ready: () => zygote.ready(), seal, workDir, clock });
  const zygote = createZygote({
    start: (handlers) => startEngineProcess({ library, libraryDir, command, geometry, clock, log, handlers }),
    ...{ clock, log, random },
    opened(ring) {
      roster.attach(ring);
      sweep.stir();
    },
    lost() {
      roster.detach();
      compiler.onLost();
      sweep.stir();
    },
    event(event) {
      if (event.kind === EVENT.compiled) compiler.onEvent(event);
      else roster.onEvent(event);
    },
    wake: () => roster.drain(),
  });
  return { roster, pools, sweep, compiler, zygote, library };
}

/**
 * The engine process is being started when this resolves; `ready` waits for it. The caller closes the engine.
 */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const { cacheDir, check, clock, dataDir, log, random, randomBytes } = options;
  const limits: EngineLimits = { ...DEFAULTS, ...options.limits };
  const workDir = join(cacheDir, 'compiled');
  const cache = await openCodeCache({
    dir: workDir,
    key: await openNodeKey({ dataDir, randomBytes }),
    bytesMax: limits.compiledBytesMax,
    nowMs: () => clock.nowMs(),
    randomBytes,
  });
  const cpuFeatures = await readCpuFeatures();
  const { compiler, library, pools, roster, sweep, zygote } = createCore(options, limits, workDir);
  const ready = (): ReturnType<Zygote['ready']> => zygote.ready();
  const preparer = createPreparer({ cache, check, compiler, library, cpuFeatures, ready, clock, log });
  const prepared = new WeakMap<Code, Prepared>();
  return {
    async prepare(input) {
      const outcome = await preparer.prepare(input);
      if (!outcome.ok) return { ok: false, code: outcome.error.code, message: outcome.error.message };
      prepared.set(outcome.prepared.code, outcome.prepared);
      return { ok: true, code: outcome.prepared.code };
    },
    openPool({ ref, code, settings }) {
      const found = prepared.get(code);
      if (found === undefined)
        throw new CodedError('internal', { message: 'This engine did not prepare this code.' });
      const pool = new VersionPool({
        ref,
        settings,
        codeFd: found.fd,
        startBlock: encodeStartBlock(settings, found.facts),
        limits: poolLimitsOf(limits),
        ...{ roster, clock, log, random },
        stir: () => sweep.stir(),
        closed: (closed) => void pools.delete(closed),
      });
      pools.add(pool);
      return pool;
    },
    stats: () => ({
      ...roster.stats(),
      restarts: zygote.restarts(),
      enginePid: zygote.pid(),
      compile: { ...compiler.stats(), ...preparer.stats() },
    }),
    async ready() {
      await zygote.ready();
    },
    async close() {
      await Promise.all([...pools].map((pool) => pool.close({ graceMs: 0 })));
      await zygote.close();
      sweep.close();
    },
  };
}

function poolLimitsOf(limits: EngineLimits): PoolLimits {
  return {
    workersMin: limits.poolWorkersMin,
    workersMax: Math.min(limits.poolWorkersMax, limits.workers),
    queueLengthMax: limits.queueLengthMax,
    workersBusy: availableParallelism() * WORKERS_PER_PROCESSOR,
  };
}
