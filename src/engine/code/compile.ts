// Compiles modules in a limited child of the engine process, one at a time.
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { CodedError } from '../../base/errors.ts';
import { COMPILE_BOUNDS } from '../../base/limits/compile.ts';
import { readBounded } from './cache.ts';
import { EVENT, type EngineEvent, HOW } from '../process/frames.ts';
import { compileVerdict } from '../ring/results.ts';
import type { Ring } from '../ring/ring.ts';
import type { SealedMemory } from '../ring/library.ts';

/** `gave_up`: this module does not compile within the limits. `failed`: the node could not do its part. */
export type CompileOutcome =
  { kind: 'done'; code: Uint8Array } | { kind: 'gave_up' | 'failed'; detail: string };

export type CompileStats = { compiled: number; failed: number; queued: number; compile_ms_total: number };

export type Compiler = {
  /** Throws `CodedError('overloaded')` when too many wait, and when the engine is closed. */
  compile(module: Uint8Array): Promise<CompileOutcome>;
  onEvent(event: EngineEvent): void;
  /** The engine process died. */
  onLost(): void;
  stats(): CompileStats;
};

const ATTEMPTS_MAX = 2;
const WORK_PREFIX = '.tmp-work-';

export type CompilerOptions = {
  ready: () => Promise<{ ring: Ring }>;
  seal: (bytes: Uint8Array) => SealedMemory;
  /** Where a private directory for the output of each job is made and removed. */
  workDir: string;
  clock: Clock;
};

type Runner = {
  /** Asks for the compile and waits for its end or the wall clock, which ends it. */
  run(moduleFd: number, path: string): Promise<EngineEvent | 'lost' | 'late'>;
  onEvent(event: EngineEvent): void;
  onLost(): void;
};

/** Runs one job at a time; the caller waits for the end of one before it asks for the next. */
function createRunner({ ready, clock }: CompilerOptions): Runner {
  let job: { id: number; ended: (event: EngineEvent | 'lost') => void } | null = null;
  let lastId = 0;
  return {
    async run(moduleFd, path) {
      const { ring } = await ready();
      lastId = (lastId % 0x7fff_ffff) + 1;
      const id = lastId;
      const ended = Promise.withResolvers<EngineEvent | 'lost'>();
      job = { id, ended: ended.resolve };
      const timer = new AbortController();
      try {
        const { memoryBytes, cpuSeconds } = COMPILE_BOUNDS;
        if (!ring.compile({ id, moduleFd, memoryBytes, cpuSeconds, path })) return 'lost';
        const late = clock.sleep(COMPILE_BOUNDS.compileMs, timer.signal).then(() => 'late' as const);
        const first = await Promise.race([ended.promise, late]);
        if (first !== 'late') return first;
        ring.cancelCompile(id);
        await ended.promise;
        return 'late';
      } finally {
        timer.abort();
        job = null;
      }
    },
    onEvent(event) {
      if (event.kind === EVENT.compiled && event.slot === job?.id) job.ended(event);
    },
    onLost: () => job?.ended('lost'),
  };
}

export function createCompiler(options: CompilerOptions): Compiler {
  const { seal, workDir, clock } = options;
  const runner = createRunner(options);
  const stats = { compiled: 0, failed: 0, queued: 0, compile_ms_total: 0 };
  let last: Promise<unknown> = Promise.resolve();

  const attempt = async (module: Uint8Array): Promise<CompileOutcome | 'lost'> => {
    const directory = await mkdtemp(join(workDir, WORK_PREFIX));
    const sealed = seal(module);
    try {
      const path = join(directory, 'code');
      const ended = await runner.run(sealed.fd, path);
      if (ended === 'lost') return 'lost';
      if (ended === 'late')
        return { kind: 'gave_up', detail: `it took longer than ${COMPILE_BOUNDS.compileMs} ms` };
      const verdict = compileVerdict(ended);
      const detail = `${ended.how === HOW.signalled ? 'signal' : 'exit code'} ${ended.value}`;
      if (verdict !== 'done') return { kind: verdict, detail };
      const code = await readBounded(path, COMPILE_BOUNDS.fileBytesMax);
      return code === null
        ? { kind: 'gave_up', detail: 'its code is missing or too large' }
        : { kind: 'done', code };
    } finally {
      sealed.close();
      await rm(directory, { recursive: true, force: true });
    }
  };

  const compileNow = async (module: Uint8Array): Promise<CompileOutcome> => {
    const startMs = clock.monotonicMs();
    let outcome: CompileOutcome | 'lost' = 'lost';
    for (let tried = 0; tried < ATTEMPTS_MAX && outcome === 'lost'; tried += 1)
      outcome = await attempt(module);
    stats.compile_ms_total += clock.monotonicMs() - startMs;
    const ended: CompileOutcome =
      outcome === 'lost' ? { kind: 'failed', detail: 'the engine process ended' } : outcome;
    if (ended.kind === 'done') stats.compiled += 1;
    else stats.failed += 1;
    return ended;
  };

  return {
    async compile(module) {
      if (stats.queued >= COMPILE_BOUNDS.queueLengthMax) throw new CodedError('overloaded');
      stats.queued += 1;
      const mine = last.then(() => compileNow(module));
      last = mine.catch(() => undefined);
      try {
        return await mine;
      } finally {
        stats.queued -= 1;
      }
    },
    onEvent: runner.onEvent,
    onLost: runner.onLost,
    stats: () => ({ ...stats }),
  };
}
