// A compile child that was taken over harms nobody, leaves nothing, and the next compile works.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { COMPILE_BOUNDS } from '../../../src/base/limits/compile.ts';
import { moduleOf, text, vector } from '../../model/wasm/builder.ts';
import { childrenOf, type Guest, openTestEngine, type TestEngine, textOf } from '../harness.ts';
import { buildHostileEngine } from './hostile_worker.ts';

/** How the children of hostile_compile.c end. */
const STOPPED = 'signal 31';
const REFUSED = 'exit code 78';
const LIMITED = 'exit code 53';
const EMPTY = 'exit code 51';
const STEP_BYTES = 64 * 1024 * 1024;
const INCOMPLETE = 'its code is not complete';
const NOBODY = 65_534;
const ROOT = join(import.meta.dir, '../../..');

const SIGNALS = [
  'kill',
  'kill a thread',
  'kill a thread of a group',
  'queue a signal',
  'queue a signal to a thread',
  'open a process',
  'signal a descriptor',
  'own',
  'own more',
  'choose a signal',
  'signal at a lease',
  'signal at a name',
  'own by request',
  'die with',
  'timer',
  'interval',
];
const OTHERS = [
  'trace',
  'read a process',
  'write a process',
  'limit a process',
  'place a process',
  'process',
  'thread',
  'clone3',
  'execute',
  'namespace',
  'socket',
  'file in memory',
  'aio',
];
const FILES = [
  'change a mode',
  'change the mode of a descriptor',
  'change an owner',
  'make a link',
  'link a descriptor',
  'make a symbolic link',
  'make a fifo',
  'make a directory',
  'list a descriptor',
  'reserve',
];
const PATHS = ['rename', 'read the system', 'read a neighbour', 'list', 'files'];

let build: Awaited<ReturnType<typeof buildHostileEngine>>;
let host: TestEngine;
let neighbour: Guest;
let enginePid = 0;

beforeAll(async () => {
  build = await buildHostileEngine('compile');
  host = await openTestEngine({ libraryDir: build.dir, limits: { poolWorkersMin: 0 } });
  await host.engine.ready();
  neighbour = await host.openGuest('hello/hello-c.wasm');
  expect(await neighbour.pool.warm(1)).toEqual({ ok: true });
  enginePid = host.engine.stats().enginePid ?? 0;
}, 60_000);

afterAll(async () => {
  await host.close();
  await build.close();
});

const compiled = (): string => join(host.dir, 'compiled');
const attacker = (name: string, pid: number): Uint8Array =>
  moduleOf({ data: vector([[0x00, 0x41, 0x00, 0x0b, ...text(`ATTACK=${name}@${pid}\0`)]]) });

/** How the attacker ended, after everybody else was found as before. */
async function attack(name: string, pid = enginePid): Promise<string> {
  const before = host.lines.length;
  const module = attacker(name, pid);
  const { code } = await host.openGuest(module);
  expect(code.execution).toBe('interpreter');
  const reason = host.lines.slice(before).find((line) => line.includes('runs in the interpreter')) ?? '{}';
  const names = readdirSync(compiled());
  expect(names.filter((left) => !left.endsWith('.bin'))).toEqual([]);
  expect(readdirSync(tmpdir()).filter((left) => left.startsWith('edge-many'))).toEqual([]);
  for (const left of names) rmSync(join(compiled(), left));
  expect((await host.openGuest(module)).code.execution).toBe('aot');
  expect(textOf(await host.invoke(neighbour.pool))).toContain('Hello');
  expect(host.engine.stats()).toMatchObject({ enginePid, crashed: 0 });
  expect(childrenOf(enginePid)).toHaveLength(1);
  const { detail }: { detail?: string } = JSON.parse(reason);
  return detail ?? 'no reason';
}

describe('A compile child that was taken over', () => {
  test.each(SIGNALS)('sends no signal: %s', async (name) => {
    expect(await attack(name)).toBe(STOPPED);
  });

  test('sends no signal to the edge or to a worker', async () => {
    const [worker = 0] = childrenOf(enginePid);
    for (const pid of [process.pid, worker]) expect(await attack('kill', pid)).toBe(STOPPED);
  });

  test.each(OTHERS)('reaches no process and makes none: %s', async (name) => {
    expect(await attack(name)).toBe(STOPPED);
  });

  test.each(FILES)('changes no file but its own two: %s', async (name) => {
    expect(await attack(name)).toBe(STOPPED);
  });

  test.each(PATHS)('finds nothing behind a path: %s', async (name) => {
    expect(await attack(name)).toBe(REFUSED);
  });

  test.each(['large', 'large at once'])('fills no disk: %s', async (name) => {
    expect(await attack(name)).toBe(LIMITED);
  });

  test('gets no more memory than a compile may have', async () => {
    const steps = Number((await attack('hoard')).replace('exit code ', ''));
    expect(steps).toBeGreaterThan(0);
    expect(steps).toBeLessThanOrEqual(COMPILE_BOUNDS.memoryBytes / STEP_BYTES);
  });

  test('ends as other processes do, though it is the first of its namespace', async () => {
    expect(await attack('overflow')).toBe('signal 11');
  });

  test('is tried once more where it aborts', async () => {
    expect((await host.openGuest(attacker('abort', enginePid))).code.execution).toBe('aot');
  });

  test.each([
    ['nothing', EMPTY],
    ['garbage', INCOMPLETE],
  ])('gets no code accepted that it did not compile: %s', async (name, reason) => {
    expect(await attack(name)).toContain(reason);
  });
});

/** The same tests by an ordinary user, where root can become one that reads this directory. */
describe.skipIf(process.getuid?.() !== 0)('As an ordinary user', () => {
  const asNobody = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
  const canRead = (): boolean => Bun.spawnSync([...asNobody, 'test', '-r', import.meta.path]).exitCode === 0;

  test.skipIf(process.getuid?.() !== 0 || !canRead())(
    'all of this holds too',
    () => {
      const env = { ...process.env, HOME: tmpdir() };
      const command = [...asNobody, process.execPath, 'test', import.meta.path];
      const { exitCode, stderr } = Bun.spawnSync(command, { cwd: ROOT, env, stderr: 'pipe' });
      expect({ exitCode, text: exitCode === 0 ? '' : stderr.toString() }).toEqual({ exitCode: 0, text: '' });
    },
    60_000,
  );
});
