// From an artifact to sealed code: verify, check, strip, then the compiled file of this node or a compile.
import type { Clock } from '../../base/clock.ts';
import { runInSlices, sha256Of } from '../../base/concurrency.ts';
import { CodedError } from '../../base/errors.ts';
import { COMPILE_BOUNDS } from '../../base/limits/compile.ts';
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
import { type Aborts, createAborts } from './verdict.ts';

/** `fd` is the sealed memory of `code`, `report` what the parser found in the artifact. */
export type Prepared = { code: Code; fd: number; report: ModuleReport };

export type PreparedOutcome = { ok: true; prepared: Prepared } | { ok: false; error: ModuleFault };

/** Counts since the engine was created. */
export type PrepareCounts = { cache_hits: number; cache_misses: number; interpreted: number };

export type Preparer = {
  /** As `Engine.prepare`. */
  prepare(input: {
    artifact: Uint8Array;
    sha256: string;
    settings: VersionSettings;
    signal?: AbortSignal;
  }): Promise<PreparedOutcome>;
  counts(): PrepareCounts;
};

/** The options of the compiler (native/compile.c): code for this processor, at the default level. */
const COMPILE_OPTIONS = 'wasmedge aot, not generic, native output, checked and packed by index, min_max';

type Found = CachedCode & { compiledMs: number; isStandIn: boolean; interpreted: string | null };

/** Why a module runs in the interpreter; `gave_up` is all that a file of an earlier compile knows. */
const INTERPRETED = {
  gave_up: 'the compiler gave up on it',
  failed: 'the node failed to compile it and will try again',
  no_wall:
    'this node has no second wall of files around the compiler (Landlock, or root that may setuid); ' +
    '`edge doctor` says what to do, --allow-weak-walls compiles all the same',
} as const;

type Wanted = { digest: string; module: Uint8Array };

/** A search for code, which is cancelled when nobody waits for it any more. */
type Search = { found: Promise<Found>; waiting: number; cancel: AbortController };

export type PreparerOptions = {
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
};

export function createPreparer(options: PreparerOptions): Preparer {
  const { cache, check, clock, cpuFeatures, library, ready } = options;
  const counts = { cache_hits: 0, cache_misses: 0, interpreted: 0 };
  const compile = createCompiling(options, counts);
  const find = createSearches(async (name, wanted, signal) => {
    const cached = await cache.get(name);
    if (cached === null) return await compile(name, { ...wanted, signal });
    counts.cache_hits += 1;
    const reason = cached.execution === 'interpreter' ? INTERPRETED.gave_up : null;
    return { ...cached, compiledMs: 0, isStandIn: false, interpreted: reason };
  });

  return {
    async prepare({ artifact, sha256, settings, signal }) {
      const digest = await runInSlices(clock, sha256Of(artifact));
      if (digest !== sha256)
        throw new CodedError('artifact_unavailable', { details: { expected: sha256, found: digest } });
      const { entrypoint, memory_pages: memoryPages } = settings;
      const checked = await check(artifact, { entrypoint, memoryPages });
      if (!checked.ok) return { ok: false, error: checked.error };
      const module = await runInSlices(clock, stripCustomSections(artifact));
      const { wasmedgeVersion } = await ready();
      const name = codeName({ digest, wasmedgeVersion, cpuFeatures, compileOptions: COMPILE_OPTIONS });
      const { code: bytes, ...facts } = await find(name, { digest, module }, signal);
      if (facts.execution === 'interpreter') counts.interpreted += 1;
      const sealed = library.seal(bytes);
      const code: Code = { digest, ...facts, close: () => sealed.close() };
      return { ok: true, prepared: { code, fd: sealed.fd, report: checked.report } };
    },
    counts: () => ({ ...counts }),
  };
}

type Compiling = (name: string, wanted: Wanted & { signal: AbortSignal }) => Promise<Found>;

/** Compiles where the node may, and keeps what comes of it. */
function createCompiling(options: PreparerOptions, counts: PrepareCounts): Compiling {
  const { cache, clock, compiler, log, mayCompile } = options;
  const aborts = createAborts();
  const explain = createExplainer({ aborts, clock, log });

  return async (name, { digest, module, signal }) => {
    if (!mayCompile()) {
      log.warn('an artifact runs in the interpreter', {
        sha256: digest,
        reason: 'no_wall',
        detail: INTERPRETED.no_wall,
      });
      return interpreted(module, 'no_wall', 0);
    }
    const mayTry = aborts.mayTry(name, clock.monotonicMs());
    if (mayTry !== 'yes') return interpreted(module, mayTry === 'wait' ? 'failed' : 'gave_up', 0);
    counts.cache_misses += 1;
    const startMs = clock.monotonicMs();
    const outcome = await compiler.compile(module, signal);
    const compiledMs = clock.monotonicMs() - startMs;
    if (signal.aborted && outcome.kind !== 'done') return interpreted(module, 'failed', compiledMs);
    const found = foundOf(outcome, {
      module,
      compiledMs,
      explain: (fault) => explain(fault, { name, digest }),
    });
    // After an abort the next start of the edge tries again: this node may only have been short of memory.
    if (outcome.kind === 'done' || outcome.kind === 'gave_up') {
      await cache.put(name, found).catch((failure: unknown) => {
        log.error('a compiled file could not be written', { sha256: digest, error: String(failure) });
      });
    }
    return found;
  };
}

type CompileFault = Exclude<CompileOutcome, { kind: 'done' }>;
type Explainer = (outcome: CompileFault, names: { name: string; digest: string }) => boolean;

/** Says in the log why a module runs in the interpreter; returns whether it may be compiled another time. */
function createExplainer({ aborts, clock, log }: { aborts: Aborts; clock: Clock; log: Log }): Explainer {
  const { abortsMax, memoryBytesLarge } = COMPILE_BOUNDS;
  return ({ kind, detail }, { name, digest }) => {
    const times = kind === 'aborted' ? aborts.count(name, clock.monotonicMs()) : 0;
    const mayTry = kind === 'failed' || (kind === 'aborted' && times < abortsMax);
    const memory = `${memoryBytesLarge / 2 ** 20} MiB`;
    const last = `the compiler aborted ${times} times with pauses between, also with ${memory}: it needs more memory for this module or fails on it`;
    log.warn('an artifact runs in the interpreter', {
      sha256: digest,
      reason: mayTry ? 'failed' : 'gave_up',
      detail: kind === 'aborted' && !mayTry ? last : detail,
    });
    return mayTry;
  };
}

type LookUp = (name: string, wanted: Wanted, signal: AbortSignal) => Promise<Found>;

/** Looks up one name once at a time, for all that ask for it, until the last of them is gone. */
function createSearches(
  lookUp: LookUp,
): (name: string, wanted: Wanted, signal: AbortSignal | undefined) => Promise<Found> {
  const running = new Map<string, Search>();
  const forget = (name: string, search: Search): void => {
    if (running.get(name) === search) running.delete(name);
  };
  const start = (name: string, wanted: Wanted): Search => {
    const cancel = new AbortController();
    const found = lookUp(name, wanted, cancel.signal).finally(() => forget(name, search));
    const search: Search = { found, waiting: 0, cancel };
    running.set(name, search);
    return search;
  };
  return async (name, wanted, signal) => {
    const search = running.get(name) ?? start(name, wanted);
    search.waiting += 1;
    const leave = (): void => {
      search.waiting -= 1;
      if (search.waiting > 0) return;
      forget(name, search);
      search.cancel.abort();
    };
    if (signal?.aborted === true) leave();
    signal?.addEventListener('abort', leave);
    try {
      return await search.found;
    } finally {
      signal?.removeEventListener('abort', leave);
    }
  };
}

/** The interpreter runs the module itself. What `failed` may compile at another time. */
function interpreted(module: Uint8Array, reason: keyof typeof INTERPRETED, compiledMs: number): Found {
  const isStandIn = reason === 'failed';
  return { execution: 'interpreter', code: module, compiledMs, isStandIn, interpreted: INTERPRETED[reason] };
}

function foundOf(
  outcome: CompileOutcome,
  options: { module: Uint8Array; compiledMs: number; explain: (fault: CompileFault) => boolean },
): Found {
  const { module, compiledMs, explain } = options;
  if (outcome.kind !== 'done')
    return interpreted(module, explain(outcome) ? 'failed' : 'gave_up', compiledMs);
  return { execution: 'aot', code: outcome.code, compiledMs, isStandIn: false, interpreted: null };
}
