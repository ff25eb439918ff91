// Wires the engine: the ring library, the engine process, the pools, and the code that workers load.
import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/errors.ts';
import type { RandomBytes } from '../base/id.ts';
import { COMPILE_DEFAULTS } from '../base/limits/compile.ts';
import { POOL_DEFAULTS } from '../base/limits/pool.ts';
import { REQUEST_DEFAULTS } from '../base/limits/request.ts';
import type { Log } from '../base/log.ts';
import type { ModuleCheck } from '../model/wasm/check.ts';
import type { Allocator, ModuleReport } from '../model/wasm/report.ts';
import { openCodeStore } from './code/code.ts';
import type { Code, Engine } from './engine.ts';
import { createPools } from './pool/pool.ts';
import { superviseEngine } from './process/process.ts';
import { createWall, openEngineCgroup } from './wall/wall.ts';
import { geometryOf } from './ring/geometry.ts';
import { openRingLibrary } from './ring/ring.ts';

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
  /** Runs guests also where a part of the wall is missing that is necessary for it; default: false. */
  allowsWeakWalls?: boolean;
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

/** What a pool needs of code that this engine prepared. */
type CodeFacts = { codeFd: number; facts: { allocator: Allocator; memoryPagesMin: number } };

/** The engine process is starting when this resolves; `ready` waits for it. The caller closes the engine. */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const { cacheDir, check, clock, command, dataDir, libraryDir, log, random, randomBytes } = options;
  const limits: EngineLimits = { ...DEFAULTS, ...options.limits };
  const library = openRingLibrary(libraryDir);
  const allowsWeak = options.allowsWeakWalls === true;
  const wall = createWall({ log, allowsWeak, cgroup: openEngineCgroup(limits.workers) });
  const pools = createPools({ limits, clock, log, random });
  const code = await openCodeStore({
    cacheDir,
    dataDir,
    bytesMax: limits.compiledBytesMax,
    check,
    library,
    ready: () => supervisor.ready(),
    mayCompile: wall.mayCompile,
    clock,
    log,
    randomBytes,
  });
  const supervisor = superviseEngine({
    library,
    libraryDir,
    command,
    geometry: geometryOf(limits),
    wall,
    clock,
    log,
    random,
    handlers: {
      opened: (ring) => pools.attach(ring),
      lost() {
        pools.detach();
        code.lost();
      },
      started: (worker) => pools.started(worker),
      exited: (worker) => pools.exited(worker),
      compiled: (compile) => code.compiled(compile),
      wakes: { woke: (slot, generation) => pools.woke(slot, generation), wake: () => pools.drain() },
      wall: wall.tried,
    },
  });
  void supervisor.unusable.then((reason) => wall.giveUp(reason));
  const prepared = new WeakMap<Code, CodeFacts>();
  return {
    async prepare(input) {
      const outcome = await code.prepare(input);
      if (!outcome.ok) return { ok: false, code: outcome.error.code, message: outcome.error.message };
      prepared.set(outcome.prepared.code, codeFactsOf(outcome.prepared));
      return { ok: true, code: outcome.prepared.code };
    },
    openPool: ({ ref, code: held, settings }) => pools.open({ ref, settings, ...factsOf(prepared, held) }),
    stats: () => ({
      ...pools.counts(),
      restarts: supervisor.restarts(),
      enginePid: supervisor.pid(),
      compile: code.counts(),
    }),
    ready: async () => void (await supervisor.ready()),
    isServing: () => supervisor.isServing(),
    stopListening: (port) => library.stopListening(port),
    wall: wall.latest,
    wallRefusal: wall.refusal,
    unusable: supervisor.unusable,
    async close() {
      await pools.close();
      await supervisor.close();
      wall.close();
    },
  };
}

function codeFactsOf({ fd, report }: { fd: number; report: ModuleReport }): CodeFacts {
  return { codeFd: fd, facts: { allocator: report.allocator, memoryPagesMin: report.memory.min_pages } };
}

function factsOf(prepared: WeakMap<Code, CodeFacts>, code: Code): CodeFacts {
  const facts = prepared.get(code);
  if (facts !== undefined) return facts;
  throw new CodedError('internal', { message: 'This engine did not prepare this code.' });
}
