// Code that workers can load, from artifacts: what compiles it, and the files that are kept of it.
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import type { RandomBytes } from '../../base/id.ts';
import type { Log } from '../../base/log.ts';
import type { ModuleCheck } from '../../model/wasm/check.ts';
import type { ProcessExit } from '../ring/process_exit.ts';
import type { Ring, RingLibrary } from '../ring/ring.ts';
import { openCodeCache } from './cache.ts';
import { type CompileCounts, createCompiler } from './compile.ts';
import { readCpuFeatures } from './cpu.ts';
import { openNodeKey } from './node_key.ts';
import { createPreparer, type PrepareCounts, type Preparer } from './prepare.ts';

export type CodeOptions = {
  /** Compiled files go to `<cacheDir>/compiled`, the key that authenticates them to `<dataDir>/node.key`. */
  cacheDir: string;
  dataDir: string;
  /** All compiled files together. */
  bytesMax: number;
  /** The check of an upload, done again before a compile. */
  check: ModuleCheck;
  library: RingLibrary;
  /** Resolves once the engine process takes work. */
  ready: () => Promise<{ ring: Ring; wasmedgeVersion: string }>;
  /** Whether the wall around a compile child is strong enough; asked once `ready` has resolved. */
  mayCompile: () => boolean;
  clock: Clock;
  log: Log;
  randomBytes: RandomBytes;
};

export type CodeStore = Pick<Preparer, 'prepare'> & {
  /** A compile child ended. */
  compiled(compile: { job: number; exit: ProcessExit }): void;
  /** The engine process died. */
  lost(): void;
  counts(): CompileCounts & PrepareCounts;
};

export async function openCodeStore(options: CodeOptions): Promise<CodeStore> {
  const { cacheDir, check, clock, dataDir, library, log, mayCompile, randomBytes, ready } = options;
  const dir = join(cacheDir, 'compiled');
  const key = await openNodeKey({ dataDir, randomBytes, log });
  const cache = await openCodeCache({ dir, key, bytesMax: options.bytesMax, clock, randomBytes, log });
  const cpuFeatures = await readCpuFeatures();
  const compiler = createCompiler({ ready, library, workDir: dir, clock, log });
  const preparer = createPreparer({
    cache,
    compiler,
    mayCompile,
    library,
    cpuFeatures,
    check,
    ready,
    clock,
    log,
  });
  return {
    prepare: preparer.prepare,
    compiled: ({ job, exit }) => compiler.ended(job, exit),
    lost: () => compiler.lost(),
    counts: () => ({ ...compiler.counts(), ...preparer.counts() }),
  };
}
