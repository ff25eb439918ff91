// What a compile child leaves behind: code only when it is complete, and a reason otherwise.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createManualClock, createSystemClock } from '../../../src/base/clock.ts';
import { COMPILE_BOUNDS } from '../../../src/base/limits/compile.ts';
import { type CompileOutcome, createCompiler } from '../../../src/engine/code/compile.ts';
import { COMPILE_EXIT } from '../../../src/engine/code/verdict.ts';
import type { ProcessExit } from '../../../src/engine/ring/process_exit.ts';
import { openRingLibrary, type Ring } from '../../../src/engine/ring/ring.ts';
import { libraryDir, silentLog as log, until } from '../harness.ts';
import { objectOf, SYMBOLS } from './object.ts';

/** With one type and one function, as `objectOf` has code for them. */
const MODULE = Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0]);
const DONE: ProcessExit = { how: 'exited', value: 0 };
const machine = process.arch === 'arm64' ? 183 : 62;
let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'edge-test-'));
});
afterEach(() => rm(dir, { recursive: true }));

/** Compiles with a child that ends with `exit` and leaves `object`. */
async function compile(exit: ProcessExit, object: Uint8Array | null): Promise<CompileOutcome> {
  const ring: Pick<Ring, 'compile'> = {
    compile({ id, path }) {
      if (object !== null) writeFileSync(path, object);
      queueMicrotask(() => compiler.ended(id, exit));
      return true;
    },
  };
  const compiler = createCompiler({
    ready: async () => ({ ring: ring as Ring }),
    library: openRingLibrary(libraryDir()),
    workDir: dir,
    clock: createSystemClock(),
    log,
  });
  const outcome = await compiler.compile(MODULE, NEVER);
  expect(readdirSync(dir)).toEqual([]);
  return outcome;
}

const NEVER = new AbortController().signal;

describe('A compile child that LLVM aborted', () => {
  /** Compiles with children that end one after the other like this; also returns the memory of each. */
  const compileThrough = async (
    exits: ProcessExit[],
  ): Promise<{ outcome: CompileOutcome; memory: number[] }> => {
    const memory: number[] = [];
    const ring: Pick<Ring, 'compile'> = {
      compile({ id, memoryBytes, path }) {
        const exit = exits[memory.length] ?? DONE;
        memory.push(memoryBytes);
        if (exit === DONE) writeFileSync(path, objectOf({ machine }));
        queueMicrotask(() => compiler.ended(id, exit));
        return true;
      },
    };
    const ready = async (): Promise<{ ring: Ring }> => ({ ring: ring as Ring });
    const library = openRingLibrary(libraryDir());
    const compiler = createCompiler({ ready, library, workDir: dir, clock: createSystemClock(), log });
    return { outcome: await compiler.compile(MODULE, NEVER), memory };
  };
  const aborted: ProcessExit = { how: 'exited', value: COMPILE_EXIT.aborted };
  const { memoryBytes, memoryBytesLarge } = COMPILE_BOUNDS;

  test('is tried once more with a larger bound on its memory', async () => {
    const { outcome, memory } = await compileThrough([aborted, DONE]);
    expect([outcome.kind, memory]).toEqual(['done', [memoryBytes, memoryBytesLarge]]);
  });

  test('is told from one that gave up where that does not help either', async () => {
    const { outcome, memory } = await compileThrough([aborted, aborted]);
    expect(outcome).toEqual({ kind: 'aborted', detail: 'exit code 54' });
    expect(memory).toEqual([memoryBytes, memoryBytesLarge]);
  });
});

describe('A compile that is cancelled', () => {
  test('ends its child, and does not begin where it still waits', async () => {
    const started: number[] = [];
    const killed: number[] = [];
    const ring: Pick<Ring, 'compile' | 'cancelCompile'> = {
      compile({ id }) {
        started.push(id);
        return true;
      },
      cancelCompile(id) {
        killed.push(id);
        queueMicrotask(() => compiler.ended(id, { how: 'signalled', value: 9 }));
        return true;
      },
    };
    const ready = async (): Promise<{ ring: Ring }> => ({ ring: ring as Ring });
    const library = openRingLibrary(libraryDir());
    const compiler = createCompiler({ ready, library, workDir: dir, clock: createSystemClock(), log });
    const cancel = new AbortController();
    const outcomes = [compiler.compile(MODULE, cancel.signal), compiler.compile(MODULE, cancel.signal)];
    await until('the first has begun', () => started.length === 1);
    cancel.abort();
    const cancelled: CompileOutcome = { kind: 'failed', detail: 'it was cancelled' };
    expect(await Promise.all(outcomes)).toEqual([cancelled, cancelled]);
    expect([started, killed, compiler.counts().failed]).toEqual([[1], [1], 0]);
  });
});

describe('A compile child that succeeded', () => {
  test('gives the module with its code behind it', async () => {
    const outcome = await compile(DONE, objectOf({ machine }));
    if (outcome.kind !== 'done') throw new Error(outcome.detail);
    expect([...outcome.code.subarray(0, MODULE.length)]).toEqual([...MODULE]);
    expect(Buffer.from(outcome.code).includes('wasmedge')).toBe(true);
  });

  test('gives no code with an undefined symbol, and never will', async () => {
    const symbols = [...SYMBOLS, { name: 'fmin', section: 0 }];
    expect(await compile(DONE, objectOf({ machine, symbols }))).toEqual({
      kind: 'gave_up',
      detail: 'its code is not complete: the symbol fmin is undefined',
    });
  });

  test('gives no code that is no shared object', async () => {
    expect(await compile(DONE, MODULE)).toMatchObject({ kind: 'gave_up' });
  });
});

describe('A compile child that the node could not carry through', () => {
  test.each<[string, ProcessExit]>([
    ['was killed for want of memory', { how: 'signalled', value: 9 }],
    ['had no room on the disk', { how: 'signalled', value: 7 }],
    ['could not write its file', { how: 'exited', value: 51 }],
    ['could not be forked', { how: 'not_forked', value: 11 }],
  ])('may succeed another time: it %s', async (_, exit) => {
    expect(await compile(exit, null)).toMatchObject({ kind: 'failed' });
  });

  test('may succeed another time: a busy node gave it no time, and is cancelled until that has worked', async () => {
    const clock = createManualClock();
    let cancels = 0;
    const started = Promise.withResolvers<void>();
    const ring: Pick<Ring, 'compile' | 'cancelCompile'> = {
      compile() {
        started.resolve();
        return true;
      },
      cancelCompile(id) {
        cancels += 1;
        if (cancels < 3) return false;
        compiler.ended(id, { how: 'signalled', value: 9 });
        return true;
      },
    };
    const ready = async (): Promise<{ ring: Ring }> => ({ ring: ring as Ring });
    const library = openRingLibrary(libraryDir());
    const compiler = createCompiler({ ready, library, workDir: dir, clock, log });
    const outcome = compiler.compile(MODULE, NEVER);
    await started.promise;
    await clock.advance(COMPILE_BOUNDS.compileMs + 100);
    expect(cancels).toBe(3);
    expect(await outcome).toEqual({ kind: 'failed', detail: 'it took longer than 60000 ms' });
    expect(COMPILE_BOUNDS.compileMs).toBeGreaterThan(COMPILE_BOUNDS.cpuSeconds * 1_000);
  });
});

describe('A directory that cannot be written', () => {
  test('leaves the module to the interpreter for now', async () => {
    const compiler = createCompiler({
      ready: () => Promise.reject(new Error('not reached')),
      library: openRingLibrary(libraryDir()),
      workDir: join(dir, 'missing'),
      clock: createSystemClock(),
      log,
    });
    expect(await compiler.compile(MODULE, NEVER)).toMatchObject({ kind: 'failed' });
  });
});
