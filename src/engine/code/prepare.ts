// From an artifact to sealed code: verify, check, strip, then the compiled file of this node or a compile.
import type { Clock } from '../../base/clock.ts';
import { runInSlices, sha256Of } from '../../base/concurrency.ts';
import { CodedError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { VersionSettings } from '../../model/function.ts';
import type { ModuleCheck } from '../../model/wasm/check.ts';
import type { ModuleFault } from '../../model/wasm/fault.ts';
import type { ModuleReport } from '../../model/wasm/report.ts';
import { stripCustomSections } from '../../model/wasm/strip.ts';
import type { Code } from '../engine.ts';
import type { RingLibrary } from '../ring/ring.ts';
import { type CachedCode, type CodeCache, codeName } from './cache.ts';
import type { CompileOutcome, Compiler } from './compile.ts';

/** `fd` is the sealed memory of `code`, `report` what the parser found in the artifact. */
export type Prepared = { code: Code; fd: number; report: ModuleReport };

export type PreparedOutcome = { ok: true; prepared: Prepared } | { ok: false; error: ModuleFault };

/** Counts since the engine was created. */
export type PrepareCounts = { cache_hits: number; cache_misses: number; interpreted: number };

export type Preparer = {
  /** Throws `CodedError('artifact_unavailable')` when the artifact has another digest than `sha256`. */
  prepare(input: {
    artifact: Uint8Array;
    sha256: string;
    settings: VersionSettings;
  }): Promise<PreparedOutcome>;
  counts(): PrepareCounts;
};

/** The options of the compiler (native/compile.c): code for this processor, at the default level. */
const COMPILE_OPTIONS = 'wasmedge aot, not generic, native output, checked and packed, min_max';

type Found = CachedCode & { compiledMs: number; isStandIn: boolean; interpreted: string | null };

/** Stands for a compile where none may be; nothing of it is kept, because the wall may become better. */
const NO_WALL = {
  kind: 'no_wall',
  detail:
    'this node has no second wall of files around the compiler (Landlock, or root that may setuid); ' +
    '`edge doctor` says what to do, --allow-weak-walls compiles all the same',
} as const;

/** Why a module runs in the interpreter; `gave_up` is all that a file of an earlier compile knows. */
const INTERPRETED = {
  gave_up: 'the compiler gave up on it',
  failed: 'the node failed to compile it and will try again',
  no_wall: NO_WALL.detail,
} as const;

export function createPreparer(options: {
  cache: CodeCache;
  compiler: Pick<Compiler, 'compile'>;
  /** Nothing is compiled without; asked once `ready` has resolved. */
  mayCompile: () => boolean;
  library: Pick<RingLibrary, 'seal'>;
  cpuFeatures: string;
  check: ModuleCheck;
  ready: () => Promise<{ wasmedgeVersion: string }>;
  clock: Clock;
  log: Log;
}): Preparer {
  const { cache, check, clock, compiler, cpuFeatures, library, log, mayCompile, ready } = options;
  const counts = { cache_hits: 0, cache_misses: 0, interpreted: 0 };
  const running = new Map<string, Promise<Found>>();

  const compile = async (name: string, digest: string, module: Uint8Array): Promise<Found> => {
    counts.cache_misses += 1;
    const startMs = clock.monotonicMs();
    const outcome = mayCompile() ? await compiler.compile(module) : NO_WALL;
    const compiledMs = clock.monotonicMs() - startMs;
    const found = foundOf(outcome, module, compiledMs);
    if (outcome.kind !== 'done') {
      const { kind: reason, detail } = outcome;
      log.warn('an artifact runs in the interpreter', { sha256: digest, reason, detail });
    }
    if (outcome.kind === 'done' || outcome.kind === 'gave_up') {
      await cache.put(name, found).catch((failure: unknown) => {
        log.error('a compiled file could not be written', { sha256: digest, error: String(failure) });
      });
    }
    return found;
  };

  /** One compile or read per name at a time, which all that ask for the name share. */
  const find = (name: string, digest: string, module: Uint8Array): Promise<Found> => {
    const known = running.get(name);
    if (known !== undefined) return known;
    const found = (async (): Promise<Found> => {
      const cached = await cache.get(name);
      if (cached === null) return await compile(name, digest, module);
      counts.cache_hits += 1;
      const interpreted = cached.execution === 'interpreter' ? INTERPRETED.gave_up : null;
      return { ...cached, compiledMs: 0, isStandIn: false, interpreted };
    })().finally(() => running.delete(name));
    running.set(name, found);
    return found;
  };

  return {
    async prepare({ artifact, sha256, settings }) {
      const digest = await runInSlices(clock, sha256Of(artifact));
      if (digest !== sha256)
        throw new CodedError('artifact_unavailable', { details: { expected: sha256, found: digest } });
      const { entrypoint, memory_pages: memoryPages } = settings;
      const checked = await check(artifact, { entrypoint, memoryPages });
      if (!checked.ok) return { ok: false, error: checked.error };
      const module = await runInSlices(clock, stripCustomSections(artifact));
      const { wasmedgeVersion } = await ready();
      const name = codeName({ digest, wasmedgeVersion, cpuFeatures, compileOptions: COMPILE_OPTIONS });
      const { code: bytes, ...facts } = await find(name, digest, module);
      if (facts.execution === 'interpreter') counts.interpreted += 1;
      const sealed = library.seal(bytes);
      const code: Code = { digest, ...facts, close: () => sealed.close() };
      return { ok: true, prepared: { code, fd: sealed.fd, report: checked.report } };
    },
    counts: () => ({ ...counts }),
  };
}

/** The interpreter runs the module itself. */
function foundOf(outcome: CompileOutcome | typeof NO_WALL, module: Uint8Array, compiledMs: number): Found {
  if (outcome.kind === 'done') {
    return { execution: 'aot', code: outcome.code, compiledMs, isStandIn: false, interpreted: null };
  }
  const { kind } = outcome;
  const isStandIn = kind === 'failed';
  return { execution: 'interpreter', code: module, compiledMs, isStandIn, interpreted: INTERPRETED[kind] };
}
