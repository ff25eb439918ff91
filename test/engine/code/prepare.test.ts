// From artifact to code: what is refused, compiled, taken from the cache, and left to the interpreter.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, createManualClock, createSystemClock } from '../../../src/base/clock.ts';
import { COMPILE_BOUNDS } from '../../../src/base/limits/compile.ts';
import { CodedError } from '../../../src/base/errors.ts';
import { systemRandom } from '../../../src/base/id.ts';
import { createLog } from '../../../src/base/log.ts';
import { openCodeCache } from '../../../src/engine/code/cache.ts';
import type { CompileOutcome } from '../../../src/engine/code/compile.ts';
import { createPreparer, type Preparer } from '../../../src/engine/code/prepare.ts';
import { openRingLibrary } from '../../../src/engine/ring/ring.ts';
import { defaultVersionSettings } from '../../../src/model/function.ts';
import { checkModule } from '../../../src/model/wasm/check.ts';
import { body, moduleOf, repeated, vector, ZERO } from '../../model/wasm/builder.ts';
import {
  childrenOf,
  libraryDir,
  openTestEngine,
  silentLog,
  type TestEngine,
  textOf,
  until,
} from '../harness.ts';

const FIXTURES = join(import.meta.dir, '../../../fixtures');
const HELLO = new Uint8Array(readFileSync(join(FIXTURES, 'hello/hello-c.wasm')));
const digestOf = (bytes: Uint8Array): string => new Bun.CryptoHasher('sha256').update(bytes).digest('hex');
const settings = defaultVersionSettings;
const isValid = (bytes: Uint8Array): boolean => WebAssembly.validate(bytes as Uint8Array<ArrayBuffer>);

describe('Preparing with a compiler that is told what to do', () => {
  let dir = '';
  let compiles = 0;
  let outcome: CompileOutcome = { kind: 'done', code: new Uint8Array([1, 2, 3]) };
  let mayCompile = true;
  let signals: AbortSignal[] = [];
  let ended: Promise<void> = Promise.resolve();
  let lines: string[] = [];
  const system = createSystemClock();

  beforeEach(() => {
    mayCompile = true;
    dir = mkdtempSync(join(tmpdir(), 'edge-test-'));
    compiles = 0;
    signals = [];
    lines = [];
    ended = Promise.resolve();
    outcome = { kind: 'done', code: new Uint8Array([1, 2, 3]) };
  });
  afterEach(() => rm(dir, { recursive: true }));

  const open = async (cpuFeatures = 'cpu', clock: Clock = system): Promise<Preparer> => {
    const key = new Uint8Array(32).fill(1);
    return createPreparer({
      cache: await openCodeCache({
        dir: join(dir, 'compiled'),
        key,
        bytesMax: 1e9,
        clock,
        randomBytes: systemRandom,
        log: silentLog,
      }),
      compiler: {
        async compile(_, signal) {
          compiles += 1;
          signals.push(signal);
          await ended;
          return outcome;
        },
      },
      mayCompile: () => mayCompile,
      library: openRingLibrary(libraryDir()),
      cpuFeatures,
      check: async (bytes, asked) => checkModule(bytes, { ...asked, typeCheck: isValid }),
      ready: async () => ({ wasmedgeVersion: '0.14.1' }),
      clock,
      log: createLog({ clock, write: (line) => void lines.push(line) }),
    });
  };

  const prepare = async (preparer: Preparer, artifact = HELLO): Promise<string> => {
    const found = await preparer.prepare({ artifact, sha256: digestOf(artifact), settings });
    if (!found.ok) return found.error.code;
    const { code, fd } = found.prepared;
    const bytes = readFileSync(`/proc/self/fd/${fd}`);
    expect(() => writeFileSync(`/proc/self/fd/${fd}`, 'x')).toThrow();
    code.close();
    code.close();
    const kind = code.isStandIn ? 'stand-in' : code.execution;
    return `${kind} ${bytes.length} bytes`;
  };

  test('seals exactly what the compiler made, and compiles it once for everybody', async () => {
    const preparer = await open();
    expect(await Promise.all([prepare(preparer), prepare(preparer)])).toEqual(['aot 3 bytes', 'aot 3 bytes']);
    expect(await prepare(await open())).toBe('aot 3 bytes');
    expect(compiles).toBe(1);
  });

  test('compiles anew for another processor', async () => {
    await prepare(await open('one'));
    await prepare(await open('two'));
    expect(compiles).toBe(2);
  });

  test('falls back to the interpreter where the compiler gave up, and remembers it', async () => {
    outcome = { kind: 'gave_up', detail: 'signal 6' };
    expect(await prepare(await open())).toBe(`interpreter ${HELLO.length} bytes`);
    expect(await prepare(await open())).toBe(`interpreter ${HELLO.length} bytes`);
    expect(compiles).toBe(1);
  });

  test('falls back where the node failed, and tries again the next time', async () => {
    outcome = { kind: 'failed', detail: 'exit code 51' };
    expect(await prepare(await open())).toBe(`stand-in ${HELLO.length} bytes`);
    expect(await prepare(await open())).toBe(`stand-in ${HELLO.length} bytes`);
    expect(compiles).toBe(2);
    outcome = { kind: 'done', code: new Uint8Array(7) };
    expect(await prepare(await open())).toBe('aot 7 bytes');
  });

  test('compiles nothing where it may not, says why, and compiles once it may', async () => {
    mayCompile = false;
    const preparer = await open();
    const sha256 = digestOf(HELLO);
    const found = await preparer.prepare({ artifact: HELLO, sha256, settings });
    if (!found.ok) throw new Error(found.error.code);
    const { code } = found.prepared;
    expect(code).toMatchObject({ execution: 'interpreter', isStandIn: false });
    expect(code.interpreted).toContain('no second wall of files around the compiler');
    code.close();
    expect(compiles).toBe(0);
    mayCompile = true;
    expect(await prepare(preparer)).toBe('aot 3 bytes');
    mayCompile = false;
    expect(await prepare(await open())).toBe('aot 3 bytes');
    expect(compiles).toBe(1);
  });

  test('tries a module again that the compiler aborts, with pauses, a bounded number of times', async () => {
    outcome = { kind: 'aborted', detail: 'signal 6' };
    const clock = createManualClock();
    const preparer = await open('cpu', clock);
    for (let times = 1; times < COMPILE_BOUNDS.abortsMax; times += 1) {
      for (let asked = 0; asked < 3; asked += 1) expect(await prepare(preparer)).toContain('stand-in');
      expect(compiles).toBe(times);
      await clock.advance(COMPILE_BOUNDS.abortPauseMs * 2 ** (times - 1));
    }
    for (let asked = 0; asked < 3; asked += 1) expect(await prepare(preparer)).toContain('interpreter');
    expect(compiles).toBe(COMPILE_BOUNDS.abortsMax);
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({
      reason: 'gave_up',
      detail:
        'the compiler aborted 5 times with pauses between, also with 2048 MiB: ' +
        'it needs more memory for this module or fails on it',
    });
    outcome = { kind: 'done', code: new Uint8Array(7) };
    expect(await prepare(await open())).toBe('aot 7 bytes');
  });

  test('ends a compile that nobody waits for, and only then', async () => {
    const gate = Promise.withResolvers<void>();
    ended = gate.promise;
    const preparer = await open();
    const [first, second] = [new AbortController(), new AbortController()];
    const sha256 = digestOf(HELLO);
    const ask = ({ signal }: AbortController): ReturnType<Preparer['prepare']> =>
      preparer.prepare({ artifact: HELLO, sha256, settings, signal });
    const asked = [ask(first), ask(second)];
    await until('it compiles', () => compiles === 1);
    first.abort();
    expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
    second.abort();
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
    outcome = { kind: 'failed', detail: 'it was cancelled' };
    const third = ask(new AbortController());
    await until('the next one compiles anew', () => compiles === 2);
    gate.resolve();
    for (const found of await Promise.all([...asked, third])) if (found.ok) found.prepared.code.close();
    expect(lines.filter((line) => line.includes('it was cancelled'))).toHaveLength(1);
  });

  test('keeps custom sections from compiler and interpreter', async () => {
    outcome = { kind: 'gave_up', detail: 'signal 6' };
    const artifact = new Uint8Array(readFileSync(join(FIXTURES, 'hostile/custom-sections.wasm')));
    const text = await prepare(await open(), artifact);
    expect(text).toMatch(/^interpreter \d+ bytes$/);
    expect(Number(text.split(' ')[1])).toBeLessThan(artifact.length);
  });

  test.each([
    ['hostile/aot-section.wasm', 'aot_section_forbidden'],
    ['hostile/type-error.wasm', 'invalid_wasm'],
    ['hostile/sock-open.wasm', 'forbidden_import'],
  ])('refuses again what no upload would accept: %s', async (file, code) => {
    const artifact = new Uint8Array(readFileSync(join(FIXTURES, file)));
    expect(await prepare(await open(), artifact)).toBe(code);
    expect(compiles).toBe(0);
  });

  test('throws artifact_unavailable for bytes of another digest', async () => {
    const preparer = await open();
    const failed = preparer.prepare({ artifact: HELLO, sha256: digestOf(new Uint8Array(1)), settings });
    const failure: unknown = await failed.catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(CodedError);
    expect((failure as CodedError).code).toBe('artifact_unavailable');
  });
});

describe('A compiled file on disk', () => {
  let dir = '';
  let host: TestEngine;

  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'edge-test-'));
  });
  afterAll(() => rm(dir, { recursive: true }));
  beforeEach(async () => {
    host = await openTestEngine({ dir });
  });
  afterEach(() => host.close());

  const files = (): string[] => readdirSync(join(dir, 'compiled'));
  const answer = async (): Promise<string> => {
    const { pool, code } = await host.openGuest('hello/hello-c.wasm');
    return `${code.execution} ${textOf(await host.invoke(pool))}`;
  };

  test('is written once, and nothing else is left beside it', async () => {
    expect(await answer()).toBe('aot Hello from edge!\n');
    expect(files()).toHaveLength(1);
    expect(host.engine.stats().compile).toMatchObject({
      cache_misses: 1,
      cache_hits: 0,
      compiled: 1,
      failed: 0,
    });
  });

  test('is used by the next engine without compiling', async () => {
    expect(await answer()).toBe('aot Hello from edge!\n');
    expect(host.engine.stats().compile).toMatchObject({ cache_misses: 0, cache_hits: 1, compiled: 0 });
  });

  test('that was tampered with is thrown away and compiled again', async () => {
    const path = join(dir, 'compiled', files()[0] ?? '');
    const bytes = readFileSync(path);
    const middle = bytes.length >> 1;
    bytes[middle] = (bytes[middle] ?? 0) ^ 0x40;
    writeFileSync(path, bytes);
    expect(await answer()).toBe('aot Hello from edge!\n');
    expect(host.engine.stats().compile).toMatchObject({ cache_misses: 1, cache_hits: 0, compiled: 1 });
    expect(readFileSync(path).equals(bytes)).toBe(false);
  });

  test('that says interpreter runs there, with the same answer', async () => {
    const name = (files()[0] ?? '').replace(/\.bin$/, '');
    const key = new Uint8Array(readFileSync(join(dir, 'node.key')));
    const options = {
      dir: join(dir, 'compiled'),
      key,
      bytesMax: 1e9,
      clock: createSystemClock(),
      randomBytes: systemRandom,
      log: silentLog,
    };
    await (await openCodeCache(options)).put(name, { execution: 'interpreter', code: HELLO });
    expect(await answer()).toBe('interpreter Hello from edge!\n');
  });
});

describe('A compile child', () => {
  test('is ended by SIGXCPU at its processor time, a second before SIGKILL', async () => {
    const host = await openTestEngine();
    try {
      await host.engine.ready();
      const work = body(repeated(2_000, 0x3f, 0x00, 0x40, 0x00, 0x1a).concat(ZERO));
      const opening = host.openGuest(moduleOf({ code: vector([work]) }));
      let limits = '';
      await until('the limits of the child are seen', () => {
        const children = childrenOf(host.engine.stats().enginePid ?? process.pid);
        limits = children.map(cpuLimits).find((line) => line !== '' && !line.includes('unlimited')) ?? '';
        return limits !== '';
      });
      const { cpuSeconds } = COMPILE_BOUNDS;
      expect(limits.split(/\s{2,}/).slice(1, 3)).toEqual([`${cpuSeconds}`, `${cpuSeconds + 1}`]);
      expect((await opening).code.execution).toBe('aot');
    } finally {
      await host.close();
    }
  });

  function cpuLimits(pid: number): string {
    try {
      return /^Max cpu time.*$/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[0] ?? '';
    } catch {
      return ''; // it has ended
    }
  }
});

describe('An engine process that dies in the middle of a compile', () => {
  test('costs a second try, not the artifact', async () => {
    const host = await openTestEngine();
    try {
      await host.engine.ready();
      const pid = host.engine.stats().enginePid;
      if (pid === null) throw new Error('the engine process is not there');
      const opening = host.openGuest('hello/hello-c.wasm');
      process.kill(pid, 'SIGKILL');
      const { pool, code } = await opening;
      expect(code.execution).toBe('aot');
      expect(textOf(await host.invoke(pool))).toBe('Hello from edge!\n');
      expect(host.engine.stats().restarts).toBe(1);
    } finally {
      await host.close();
    }
  });
});
