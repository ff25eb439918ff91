// What a taken-over worker asks of the kernel is refused, ends it, or harms nobody; its memory has a bound.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { POOL_BOUNDS } from '../../../src/base/limits/pool.ts';
import { childrenOf, type Guest, openTestEngine, type TestEngine, textOf, until } from '../harness.ts';
import { KILLED_CALLS } from './attacks.ts';
import { buildHostileEngine } from './hostile_worker.ts';

const SIGABRT = 6;
const SIGSEGV = 11;
const SIGSYS = 31;
/** Exit codes of attacks.h. */
const REFUSED = 78;
const HARMLESS = 79;
const SEEN = 80;
const SECRET = 'CANARY-0e5b';
const PAGES = 16;
const PAGE_BYTES = 65_536;
/** Kinds of memory of which a worker gets next to nothing. */
const OWN_ONLY = new Set(['heap', 'inherited']);
const KIB = 1024;
const MIB = 1024 * KIB;
let build: Awaited<ReturnType<typeof buildHostileEngine>>;
let host: TestEngine;
let neighbour: Guest;

beforeAll(async () => {
  build = await buildHostileEngine();
  host = await openTestEngine({ libraryDir: build.dir, limits: { poolWorkersMin: 0, poolWorkersMax: 1 } });
  await host.engine.ready();
  neighbour = await host.openGuest('echo/echo.wasm', { env: { SECRET }, isolation: 'reuse' });
}, 60_000);

afterAll(async () => {
  await host.close();
  await build.close();
});

/** The neighbour handles a secret, and answers with it. */
async function askNeighbour(): Promise<void> {
  const body = new TextEncoder().encode(`body ${SECRET}`);
  const headers = `cookie: session=${SECRET}\r\n`;
  const text = textOf(await host.invoke(neighbour.pool, { method: 'POST', target: '/', headers, body }));
  expect(text).toBe(`POST /\n${headers}\nbody ${SECRET}`);
}

type Ended = { how: string; value: number };

const endings = (): Ended[] =>
  host.lines.filter((line) => line.includes('ended by itself"')).map((line): Ended => JSON.parse(line));

/** How a worker ended that was told to attack in this way; its neighbour answers before and after. */
async function attack(name: string, more: Record<string, string> = {}): Promise<Ended> {
  const before = endings().length;
  await askNeighbour();
  const { restarts, enginePid } = host.engine.stats();
  const env = { ATTACK: name, ...more };
  const guest = await host.openGuest('hello/hello-c.wasm', { env, memory_pages: PAGES });
  void guest.pool.warm(1);
  await until(`the worker that does ${name} has ended`, () => endings().length > before);
  await guest.pool.close({ graceMs: 0 });
  await askNeighbour();
  expect(host.engine.stats()).toMatchObject({ restarts, enginePid });
  const ended = endings()[before];
  if (ended === undefined) throw new Error('no end');
  return { how: ended.how, value: ended.value };
}

describe('A call with arguments that a worker does not need', () => {
  test.each(KILLED_CALLS)('ends the worker: %s', async (name) => {
    expect(await attack(name)).toEqual({ how: 'signalled', value: SIGSYS });
  });
});

describe('A call that a worker may do', () => {
  test.each([
    ['advise', { how: 'exited', value: REFUSED }],
    ['remap-slots', { how: 'exited', value: REFUSED }],
    ['seek', { how: 'exited', value: HARMLESS }],
    ['handle-in-slots', { how: 'exited', value: HARMLESS }],
    ['replace-code', { how: 'signalled', value: SIGSEGV }],
    ['return', { how: 'signalled', value: SIGSEGV }],
    ['abort', { how: 'signalled', value: SIGABRT }],
    ['leave', { how: 'exited', value: 0 }],
    ...[0, 1, 255].map((value) => [`exit-${value}`, { how: 'exited', value }] as const),
  ] as const)('harms nobody: %s', async (name, ended) => {
    expect(await attack(name)).toEqual(ended);
  });

  test('finds a secret of its own function, so that the search is one', async () => {
    expect(await attack('seek', { OWN: SECRET })).toEqual({ how: 'exited', value: SEEN });
  });

  test('finds nothing of a worker that had its place before', async () => {
    const previous = await host.openGuest('echo/echo.wasm', { env: { SECRET }, isolation: 'reuse' });
    const body = new TextEncoder().encode(SECRET.repeat(100_000));
    expect(textOf(await host.invoke(previous.pool, { method: 'POST', body }))).toContain(SECRET);
    await previous.pool.close({ graceMs: 0 });
    expect(await attack('seek')).toEqual({ how: 'exited', value: HARMLESS });
  });

  test.each(['exit-40', 'exit-41', 'exit-42', 'exit-50', 'exit-52'])(
    'may claim any end of a worker: %s',
    async (name) => {
      const guest = await host.openGuest('hello/hello-c.wasm', { env: { ATTACK: name } });
      const { crashed } = host.engine.stats();
      void guest.pool.warm(1);
      await until('the worker has ended', () => host.engine.stats().crashed > crashed);
      await guest.pool.close({ graceMs: 0 });
      await askNeighbour();
      expect(host.engine.isServing()).toBe(true);
    },
  );

  test.each(['fault-for-ever', 'block'])('burns no processor for long: %s', async (name) => {
    const { crashed } = host.engine.stats();
    const guest = await host.openGuest('hello/hello-c.wasm', { env: { ATTACK: name } });
    expect(await guest.pool.warm(1)).toEqual({ ok: true });
    await until('the worker is killed', () => host.engine.stats().crashed > crashed);
    expect(host.lines.join('\n')).toContain('used the processor without a request');
    await guest.pool.close({ graceMs: 0 });
    await askNeighbour();
  });

  test('costs only its own function time: sleep', async () => {
    const guest = await host.openGuest('hello/hello-c.wasm', { env: { ATTACK: 'sleep' } });
    const pid = await warmed(guest);
    await until('the worker sleeps', () => isWaiting(pid));
    const late = host.invoke(guest.pool, {}, 200);
    await askNeighbour();
    expect(await late).toMatchObject({ kind: 'fault', code: 'execution_timeout' });
    await guest.pool.close({ graceMs: 0 });
  });
});

/** A field of /proc/PID/status, or a limit of /proc/PID/limits; 0 when the process is gone. */
function readBytes(pid: number, file: 'status' | 'limits', name: string): number {
  try {
    const text = readFileSync(`/proc/${pid}/${file}`, 'utf8');
    const [, value, unit] = new RegExp(`^${name}:?\\s+(\\d+)( kB)?`, 'm').exec(text) ?? [];
    return Number(value ?? 0) * (unit === undefined ? 1 : KIB);
  } catch {
    return 0;
  }
}

const isWaiting = (pid: number): boolean => {
  try {
    return /^State:\s+S/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return true;
  }
};

type Taken = { anonymous: number; shared: number; dataLimit: number; stackLimit: number };

/** The most that a worker had until it waits for its next request, or is killed. */
async function mostOf(pid: number): Promise<Taken> {
  const taken: Taken = { anonymous: 0, shared: 0, dataLimit: 0, stackLimit: 0 };
  const raise = (key: keyof Taken, value: number): void => void (taken[key] = Math.max(taken[key], value));
  await until('the worker has taken what it can', () => {
    raise('dataLimit', readBytes(pid, 'limits', 'Max data size'));
    raise('stackLimit', readBytes(pid, 'limits', 'Max stack size'));
    const isDone = isWaiting(pid);
    raise('anonymous', readBytes(pid, 'status', 'RssAnon'));
    raise('shared', readBytes(pid, 'status', 'RssShmem'));
    return isDone;
  });
  return taken;
}

/** Starts one worker, and names its process. */
async function warmed(guest: Guest): Promise<number> {
  const enginePid = host.engine.stats().enginePid ?? 0;
  const others = new Set(childrenOf(enginePid));
  const attackers = (): number[] => childrenOf(enginePid).filter((one) => !others.has(one));
  const warming = guest.pool.warm(1);
  await until('the attacker runs', () => attackers().length > 0);
  const [pid = 0] = attackers();
  await warming;
  return pid;
}

/** What the memory files of this process hold: the slots of all workers, and code. */
function memoryFileBytes(): number {
  const bytes = readdirSync('/proc/self/fd').map((fd) => {
    try {
      const isMemory = readlinkSync(`/proc/self/fd/${fd}`).startsWith('/memfd:');
      return isMemory ? statSync(`/proc/self/fd/${fd}`).blocks * BLOCK_BYTES : 0;
    } catch {
      return 0;
    }
  });
  return bytes.reduce((sum, one) => sum + one, 0);
}

const BLOCK_BYTES = 512;
/** What a worker that is gone may leave in its slots. */
const LEFT_BYTES_MAX = MIB;
/** Private memory that a worker has from the engine process: not limited, but there is not more of it. */
const INHERITED_BYTES_MAX = 48 * MIB;
/** What an attack must have taken to prove anything. */
const TAKEN_BYTES_MIN = 16 * MIB;

describe('A worker that takes all the memory it can', () => {
  const kinds = ['private', 'unreserved', 'reserved', 'stack', 'slots', 'heap', 'inherited', 'all'];
  test.each(kinds)('stays below its bound: %s', async (kind) => {
    await askNeighbour();
    const filesBefore = memoryFileBytes();
    const env = { ATTACK: `keep-${kind}` };
    const guest = await host.openGuest('hello/hello-c.wasm', { env, memory_pages: PAGES });
    const { anonymous, shared, dataLimit, stackLimit } = await mostOf(await warmed(guest));
    expect(stackLimit).toBe(POOL_BOUNDS.workerStackBytes);
    const given = PAGES * PAGE_BYTES + POOL_BOUNDS.workerOverheadBytes;
    expect(dataLimit).toBeLessThanOrEqual(given + INHERITED_BYTES_MAX);
    expect(anonymous).toBeLessThanOrEqual(dataLimit + stackLimit + INHERITED_BYTES_MAX);
    if (!OWN_ONLY.has(kind)) expect(anonymous + shared).toBeGreaterThan(TAKEN_BYTES_MIN);
    await guest.pool.close({ graceMs: 0 });
    await until('its slots are given back', () => memoryFileBytes() < filesBefore + LEFT_BYTES_MAX);
    await askNeighbour();
  });
});
