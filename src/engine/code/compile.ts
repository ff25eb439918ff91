// Compiles modules in a limited child of the engine process, one at a time.
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { createSerialQueue, runInSlices } from '../../base/concurrency.ts';
import { within } from '../../base/deadline.ts';
import { readFileBounded, TEMPORARY_PREFIX } from '../../base/durable.ts';
import { CodedError } from '../../base/errors.ts';
import { COMPILE_BOUNDS } from '../../base/limits/compile.ts';
import type { Log } from '../../base/log.ts';
import { replaceMinMax } from '../../model/wasm/min_max.ts';
import type { ProcessExit } from '../ring/process_exit.ts';
import type { Ring, RingLibrary } from '../ring/ring.ts';
import { removeLeftover } from './cache.ts';
import { packCode } from './pack.ts';
import { compileVerdict } from './verdict.ts';

/**
 * `gave_up`: this module does not compile within the limits. `failed`: the node could not do its part, or the
 * caller cancelled it. `aborted`: LLVM ended itself, also with more memory; see `compileVerdict`.
 */
export type CompileOutcome =
  { kind: 'done'; code: Uint8Array } | { kind: 'gave_up' | 'failed' | 'aborted'; detail: string };

/** `incomplete`: nothing failed, but the code must not be loaded. */
type Finished = CompileOutcome | { kind: 'incomplete'; detail: string };
type Attempt = Finished | { kind: 'lost' };

const CANCELLED: CompileOutcome = { kind: 'failed', detail: 'it was cancelled' };

/** Counts since the engine was created; `queued` is the present length of the queue. */
export type CompileCounts = { compiled: number; failed: number; queued: number; compile_ms_total: number };

export type Compiler = {
  /**
   * Throws `CodedError('overloaded')` when too many wait; rejects when the engine is closed. Ends the child
   * when `signal` aborts.
   */
  compile(module: Uint8Array, signal: AbortSignal): Promise<CompileOutcome>;
  /** The compile child of `job` ended. */
  ended(job: number, exit: ProcessExit): void;
  /** The engine process died, and the compile child with it. */
  lost(): void;
  counts(): CompileCounts;
};

/** A compile that its engine process did not survive is tried once more. */
const ATTEMPTS_MAX = 2;
const WORK_PREFIX = `${TEMPORARY_PREFIX}work-`;
const JOB_MAX = 0x7fff_ffff;
/** The zygote may have forked it only now. */
const CANCEL_RETRY_MS = 10;

export type CompilerOptions = {
  ready: () => Promise<{ ring: Ring }>;
  library: Pick<RingLibrary, 'seal'>;
  /** Each job gets a private directory in it, which is removed afterwards. */
  workDir: string;
  clock: Clock;
  log: Log;
};

/** `memoryBytes` is the RLIMIT_DATA of the child beyond what it starts with. */
type RunOptions = { memoryBytes: number; signal: AbortSignal };

type Runner = Pick<Compiler, 'ended' | 'lost'> & {
  /** Resolves when the child has ended; `late` after the wall clock or the signal ended it. One at a time. */
  run(moduleFd: number, path: string, options: RunOptions): Promise<ProcessExit | 'lost' | 'late'>;
};

function createRunner({ clock, ready }: CompilerOptions): Runner {
  let running: { job: number; resolve: (exit: ProcessExit | 'lost') => void } | null = null;
  let lastJob = 0;
  /** Kills the child of `job` until that has worked, and waits for its end. */
  const cancel = async (ring: Ring, job: number, end: Promise<unknown>): Promise<void> => {
    while (!ring.cancelCompile(job)) if ((await within(clock, CANCEL_RETRY_MS, end)) !== 'late') return;
    await end;
  };
  return {
    async run(moduleFd, path, { memoryBytes, signal }) {
      const { ring } = await ready();
      lastJob = (lastJob % JOB_MAX) + 1;
      const job = lastJob;
      const { promise, resolve } = Promise.withResolvers<ProcessExit | 'lost'>();
      running = { job, resolve };
      try {
        const { compileMs, cpuSeconds } = COMPILE_BOUNDS;
        if (!ring.compile({ id: job, moduleFd, memoryBytes, cpuSeconds, path })) return 'lost';
        const exit = await within(clock, compileMs, promise, signal);
        if (exit !== 'late') return exit;
        await cancel(ring, job, promise);
        return 'late';
      } finally {
        running = null;
      }
    },
    ended(job, exit) {
      if (running?.job === job) running.resolve(exit);
    },
    lost: () => running?.resolve('lost'),
  };
}

/** One compile in a directory of its own, which is removed afterwards. */
function createAttempt(
  { clock, library, log, workDir }: CompilerOptions,
  runner: Runner,
): (module: Uint8Array, options: RunOptions) => Promise<Attempt> {
  const attemptIn = async (directory: string, module: Uint8Array, options: RunOptions): Promise<Attempt> => {
    const path = join(directory, 'code');
    const sealed = library.seal(module);
    try {
      const exit = await runner.run(sealed.fd, path, options);
      if (exit === 'lost') return { kind: 'lost' };
      if (exit === 'late') {
        if (options.signal.aborted) return CANCELLED;
        return { kind: 'failed', detail: `it took longer than ${COMPILE_BOUNDS.compileMs} ms` };
      }
      const verdict = compileVerdict(exit);
      if (verdict !== 'done') {
        const detail = `${exit.how === 'signalled' ? 'signal' : 'exit code'} ${exit.value}`;
        return { kind: verdict, detail };
      }
      const object = await readFileBounded(path, COMPILE_BOUNDS.fileBytesMax).catch(() => null);
      // RLIMIT_FSIZE of the child is the same bound, so a file that cannot be read is no fault of the module.
      if (object === null) return { kind: 'failed', detail: 'its code could not be read' };
      const packed = await runInSlices(clock, packCode(module, object, process.arch));
      if (packed.ok) return { kind: 'done', code: packed.code };
      return { kind: 'incomplete', detail: `its code is not complete: ${packed.fault}` };
    } finally {
      sealed.close();
    }
  };

  return async (module, options) => {
    const directory = await mkdtemp(join(workDir, WORK_PREFIX)).catch(() => null);
    if (directory === null) return { kind: 'failed', detail: 'no directory could be made for it' };
    try {
      return await attemptIn(directory, module, options);
    } finally {
      await removeLeftover(directory, log);
    }
  };
}

export function createCompiler(options: CompilerOptions): Compiler {
  const { clock } = options;
  const runner = createRunner(options);
  const attempt = createAttempt(options, runner);
  const inTurn = createSerialQueue();
  const counts = { compiled: 0, failed: 0, queued: 0, compile_ms_total: 0 };

  /** Tries again where the engine process did not survive the compile. */
  const persist = async (module: Uint8Array, options: RunOptions): Promise<Finished> => {
    for (let tried = 0; tried < ATTEMPTS_MAX; tried += 1) {
      const outcome = await attempt(module, options);
      if (outcome.kind !== 'lost') return outcome;
      if (options.signal.aborted) return CANCELLED;
    }
    return { kind: 'failed', detail: 'the engine process ended' };
  };

  /** Tries again with more memory where LLVM aborted as it does for want of it. */
  const widen = async (module: Uint8Array, signal: AbortSignal): Promise<Finished> => {
    const { memoryBytes, memoryBytesLarge } = COMPILE_BOUNDS;
    const outcome = await persist(module, { memoryBytes, signal });
    if (outcome.kind !== 'aborted' || signal.aborted) return outcome;
    return await persist(module, { memoryBytes: memoryBytesLarge, signal });
  };

  /** The module as it is computes minimum and maximum three times as fast as the one without them. */
  const completed = async (module: Uint8Array, signal: AbortSignal): Promise<CompileOutcome> => {
    let outcome = await widen(module, signal);
    if (outcome.kind === 'incomplete') {
      const other = await runInSlices(clock, replaceMinMax(module));
      if (other !== module) outcome = await widen(other, signal);
    }
    return outcome.kind === 'incomplete' ? { kind: 'gave_up', detail: outcome.detail } : outcome;
  };

  const compile = async (module: Uint8Array, signal: AbortSignal): Promise<CompileOutcome> => {
    if (signal.aborted) return CANCELLED;
    const startMs = clock.monotonicMs();
    const outcome = await completed(module, signal);
    if (signal.aborted && outcome.kind !== 'done') return CANCELLED;
    counts.compile_ms_total += clock.monotonicMs() - startMs;
    if (outcome.kind === 'done') counts.compiled += 1;
    else counts.failed += 1;
    return outcome;
  };

  return {
    async compile(module, signal) {
      if (counts.queued >= COMPILE_BOUNDS.queueLengthMax) throw new CodedError('overloaded');
      counts.queued += 1;
      try {
        return await inTurn(() => compile(module, signal));
      } finally {
        counts.queued -= 1;
      }
    },
    ended: runner.ended,
    lost: runner.lost,
    counts: () => ({ ...counts }),
  };
}
