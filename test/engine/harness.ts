// A real engine for the tests: libwasmedge, engine process and workers, in a directory of its own.
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, createSystemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/id.ts';
import { createLog, type Log } from '../../src/base/log.ts';
import { createEngine, type EngineLimits } from '../../src/engine/create.ts';
import type { Code, Engine, Pool } from '../../src/engine/engine.ts';
import { checkHere } from '../../src/program/roles/module_check.ts';
import type { ModuleCheck } from '../../src/model/wasm/check.ts';
import { defaultVersionSettings, type VersionSettings } from '../../src/model/function.ts';
import type { InvocationOutcome, InvocationRequest } from '../../src/model/invocation.ts';

const ROOT = join(import.meta.dir, '../..');
const DEADLINE_MS = 5_000;

export type Guest = { pool: Pool; code: Code };

export type TestEngine = {
  readonly engine: Engine;
  readonly clock: Clock;
  /** Holds `compiled/` and `node.key`. */
  readonly dir: string;
  /** The messages and fields of the log so far, as JSON lines. */
  readonly lines: string[];
  /** Prepares a guest of fixtures/, or bytes, and opens a pool for it; throws when it is refused. */
  openGuest(guest: string | Uint8Array, settings?: Partial<VersionSettings>): Promise<Guest>;
  invoke(pool: Pool, request?: Partial<InvocationRequest>, ms?: number): Promise<InvocationOutcome>;
  /** Closes pools, code, engine, and removes `dir` unless it was handed in. */
  close(): Promise<void>;
};

/** A log that nobody reads. */
export const silentLog: Log = createLog({ clock: createSystemClock(), write: () => undefined });

/** Where the build leaves the native libraries; without them nothing here can be tested. */
export function libraryDir(): string {
  const dir = process.env['EDGE_TEST_LIBRARY_DIR'] ?? join(ROOT, 'dist/stage/lib');
  for (const name of ['libedge_ring.so', 'libedge_engine.so']) {
    if (!existsSync(join(dir, name)))
      throw new Error(`${join(dir, name)} is missing: run \`bun build.ts\` first`);
  }
  return dir;
}

export async function openTestEngine(
  options: {
    limits?: Partial<EngineLimits>;
    dir?: string;
    command?: readonly string[];
    check?: ModuleCheck;
    libraryDir?: string;
  } = {},
): Promise<TestEngine> {
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), 'edge-test-'));
  const clock = createSystemClock();
  const lines: string[] = [];
  const engine = await createEngine({
    libraryDir: options.libraryDir ?? libraryDir(),
    command: options.command ?? [process.execPath, join(import.meta.dir, 'role_main.ts')],
    cacheDir: dir,
    dataDir: dir,
    check: options.check ?? (async (bytes, asked) => checkHere(bytes, asked)),
    clock,
    log: createLog({ clock, level: 'debug', write: (line) => void lines.push(line) }),
    random: () => 0.5,
    randomBytes: systemRandom,
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  });
  const guests: Guest[] = [];
  return {
    engine,
    clock,
    dir,
    lines,
    async openGuest(guest, changed = {}) {
      const artifact =
        typeof guest === 'string' ? new Uint8Array(readFileSync(join(ROOT, 'fixtures', guest))) : guest;
      const sha256 = new Bun.CryptoHasher('sha256').update(artifact).digest('hex');
      const settings = { ...defaultVersionSettings, ...changed };
      const prepared = await engine.prepare({ artifact, sha256, settings });
      if (!prepared.ok) throw new Error(`${prepared.code}: ${prepared.message}`);
      const ref = { functionId: `fn_${guests.length}`, projectId: 'test', version: '1.0.0' };
      const opened = { pool: engine.openPool({ ref, code: prepared.code, settings }), code: prepared.code };
      guests.push(opened);
      return opened;
    },
    invoke(pool, request = {}, ms = DEADLINE_MS) {
      const whole = { requestId: 'req-1', method: 'GET', target: '/', headers: '', body: null, ...request };
      return pool.invoke(whole, clock.monotonicMs() + ms);
    },
    async close() {
      await engine.close();
      for (const { code } of guests) code.close();
      if (options.dir === undefined) await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Looks again and again until it holds; fails after a bound with what was waited for. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const endMs = performance.now() + DEADLINE_MS;
  while (!holds()) {
    if (performance.now() > endMs) throw new Error(`it did not come to this: ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** The processes whose parent is `pid`, as the kernel lists them. */
export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

export function textOf(outcome: InvocationOutcome): string {
  if (outcome.kind !== 'answer') throw new Error(`no answer: ${JSON.stringify(outcome)}`);
  return new TextDecoder().decode(outcome.body);
}

export function codeOf(outcome: InvocationOutcome): string {
  return outcome.kind === 'fault' || outcome.kind === 'unavailable' ? outcome.code : outcome.kind;
}
