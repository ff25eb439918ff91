// The wall around guests on machines that lack a part of it: what runs, what is refused, and who says why.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { childrenOf, fixture, publish, run, start, startUp, statusOf, until, type Up } from './harness.ts';
import { buildWeakMachines, hasUserNamespaces, isRoot, type WeakMachines } from './weak_machine.ts';

const HELLO = new Uint8Array(readFileSync(fixture('hello/hello-c.wasm')));
const dir = mkdtempSync(join(tmpdir(), 'edge-walls-'));
let machines: WeakMachines;

beforeAll(async () => {
  machines = await buildWeakMachines(dir);
}, 60_000);

afterAll(() => rmSync(dir, { recursive: true, force: true }));

type Part = { part: string; state: string; reason: string | null };

/** A data directory that another user may write. */
function dataDir(): string {
  const path = mkdtempSync(join(machines.home, 'data-'));
  chmodSync(path, 0o777);
  return path;
}

const missing = (wall: readonly Part[]): string[] =>
  wall.filter(({ state }) => state === 'missing').map(({ part }) => part);

async function readyz(url: string): Promise<{ ready: boolean; waiting_for?: string[]; wall?: Part[] }> {
  return (await fetch(`${url}/readyz`)).json() as Promise<{ ready: boolean }>;
}

/** Deploys hello at every path of a host, and reads an answer of it. */
async function helloOn(up: Up): Promise<string> {
  const published = await publish(up, HELLO, { name: 'hello', host: 'hello.test' });
  expect(published.ok).toBe(true);
  return (await fetch(up.publicUrl, { headers: { host: 'hello.test' } })).text();
}

function commandOf(pid: number): string {
  return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
}

/** The processes below `pid` whose name is `comm`. */
function descendants(pid: number, comm: string): number[] {
  return childrenOf(pid).flatMap((child) => {
    return [...(commandOf(child) === comm ? [child] : []), ...descendants(child, comm)];
  });
}

function statusLines(pid: number, names: readonly string[]): Record<string, string> {
  const lines = readFileSync(`/proc/${pid}/status`, 'utf8').split('\n');
  const pairs = lines.map((line) => line.split(/:\s*/, 2));
  return Object.fromEntries(names.map((name) => [name, pairs.find(([key]) => key === name)?.[1] ?? '']));
}

const NO_CAPABILITY = '0000000000000000';

describe.skipIf(!hasUserNamespaces()).each([['one user'], ['one user, own pids']] as const)(
  'An edge that is root in a container with %s',
  (layer) => {
    test('compiles, and leaves its workers no capability', async () => {
      const up = await startUp(dataDir(), { program: machines.program(layer) });
      try {
        expect(await helloOn(up)).toContain('Hello from edge!');
        const [worker = 0] = descendants(up.pid, 'edge-worker');
        const sets = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'];
        const none = Object.fromEntries(sets.map((name) => [name, NO_CAPABILITY]));
        expect(statusLines(worker, sets)).toEqual(none);
        const { json } = await up.api('GET', '/nodes/local');
        expect(missing((json as { wall: Part[] }).wall)).toContain('user');
        const status = await up.cli(['status', 'hello']);
        expect(status.out).toContain('cached');
        expect(status.out).not.toContain('interpreter');
      } finally {
        // A program that waits for its child passes no signal on.
        if (commandOf(up.pid) === 'unshare') for (const child of childrenOf(up.pid)) process.kill(child);
        await up.close();
      }
    }, 60_000);
  },
);

describe('An edge of an ordinary user on a machine without Landlock', () => {
  const layers = ['another user', 'without Landlock'] as const;

  test('compiles nothing, answers from the interpreter, and says why everywhere', async () => {
    const up = await startUp(dataDir(), {
      program: machines.program(...layers),
      args: ['--log-level', 'info'],
    });
    try {
      expect(await helloOn(up)).toContain('Hello from edge!');
      const { ready, wall = [] } = await readyz(up.metricsUrl);
      expect(ready).toBe(true);
      expect(missing(wall)).toEqual(expect.arrayContaining(['landlock', 'compile_files']));
      expect(wall).toContainEqual(expect.objectContaining({ part: 'seccomp', state: 'held' }));
      const node = await up.api('GET', '/nodes/local');
      expect((node.json as { wall: Part[] }).wall).toEqual(wall);
      const nodes = await up.cli(['nodes']);
      expect(nodes.out).toContain('without landlock, compile_files');
      const status = await up.cli(['status', 'hello']);
      expect(status.out).toContain('local runs it in the interpreter: this node has no second wall of files');
      const inspected = await up.cli(['inspect', 'hello']);
      expect(inspected.out).toContain(
        'local runs it in the interpreter: this node has no second wall of files',
      );
      expect(up.output()).toContain('"reason":"no_wall"');
      expect(up.output().split('"part":"landlock"')).toHaveLength(2);
      const metrics = await (await fetch(`${up.metricsUrl}/metrics`)).text();
      expect(metrics).toContain('edge_wall_part{part="landlock",state="missing"} 1');
      expect(metrics).toContain('edge_wall_part{part="seccomp",state="missing"} 0');
    } finally {
      await up.close();
    }
  }, 60_000);

  test('compiles with --allow-weak-walls', async () => {
    const up = await startUp(dataDir(), {
      program: machines.program(...layers),
      args: ['--allow-weak-walls'],
    });
    try {
      expect(await helloOn(up)).toContain('Hello from edge!');
      const status = await up.cli(['status', 'hello']);
      expect(status.out).toContain('cached');
      expect(status.out).not.toContain('interpreter');
    } finally {
      await up.close();
    }
  }, 60_000);

  test('is told by edge doctor what it lacks and what to do', async () => {
    const { code, out } = await run(['doctor'], { program: machines.program(...layers), cwd: dataDir() });
    expect(code).toBe(0);
    expect(out).toContain('compile_files is missing: function not implemented (ENOSYS)');
    expect(out).toContain('Enable Landlock, or start as root');
    expect(out).toContain('Guests may run, in the interpreter');
  }, 60_000);
});

describe('A machine that does not bound the memory of a process', () => {
  const weak = (): string => machines.program('without a bound');

  test('runs no guest: edge run says which part is missing and what to do', async () => {
    const args = ['run', fixture('hello/hello-c.wasm'), '--listen', '127.0.0.1:0', '--data-dir', dataDir()];
    const { code, err } = await run(args, { program: weak() });
    expect(code).toBe(1);
    expect(err).toContain('edge: wall_missing: This machine lacks what keeps a guest in: memory');
    expect(err).toContain('`edge doctor` says what to do; --allow-weak-walls');
  }, 60_000);

  test('fails edge doctor, in words and as JSON', async () => {
    const text = await run(['doctor'], { program: weak(), cwd: dataDir() });
    expect(text.code).toBe(1);
    expect(text.out).toMatch(/^memory +MISSING/m);
    expect(text.out).toContain('No guest runs on this machine without --allow-weak-walls: memory missing.');
    const json = await run(['doctor', '--json'], { program: weak(), cwd: dataDir() });
    expect(json.code).toBe(1);
    const { guests_may_run, wall } = JSON.parse(json.out) as { guests_may_run: boolean; wall: Part[] };
    expect(guests_may_run).toBe(false);
    expect(missing(wall)).toContain('memory');
  }, 60_000);

  test('has a node that is not ready and reports why', async () => {
    const data = dataDir();
    const places = ['--listen', '--cp-listen', '--metrics-listen'].flatMap((flag) => [flag, '127.0.0.1:0']);
    const args = ['up', '--data-dir', data, ...places, '--log-level', 'info'];
    const up = start(args, { program: weak() });
    try {
      const found = await until('the listeners are named', () => {
        const [, url] = /metrics +(http:\S+)\/metrics/.exec(up.output()) ?? [];
        return url ?? null;
      });
      const state = await until('the wall was tried', async () => {
        const now = await readyz(found);
        return now.wall === undefined ? null : now;
      });
      expect([state.ready, state.waiting_for?.includes('engine')]).toEqual([false, true]);
      expect(missing(state.wall ?? [])).toContain('memory');
      expect(await statusOf(`${found}/readyz`)).toBe(503);
      await until('the control plane shows it', async () => {
        const nodes = await run(['nodes'], { env: { EDGE_DATA_DIR: data } });
        return nodes.out.includes('degraded') && /without [a-z_, ]*memory/.test(nodes.out);
      });
      await until('the log says what to do', () => up.output().includes('`edge doctor` says what to do'));
    } finally {
      await up.close();
    }
  }, 60_000);

  test('runs guests with --allow-weak-walls', async () => {
    const up = await startUp(dataDir(), { program: weak(), args: ['--allow-weak-walls'] });
    try {
      expect(await helloOn(up)).toContain('Hello from edge!');
    } finally {
      await up.close();
    }
  }, 60_000);
});

describe('edge doctor', () => {
  test('exits with 0 on this machine and names every part', async () => {
    const { code, out } = await run(['doctor', '--json']);
    expect(code).toBe(0);
    const { guests_may_run, wall } = JSON.parse(out) as { guests_may_run: boolean; wall: Part[] };
    expect(guests_may_run).toBe(true);
    expect(wall.map(({ part }) => part)).toContain('oom_score');
    const user = wall.find(({ part }) => part === 'user');
    if (!isRoot) expect(user?.state).toBe('not_applicable');
  }, 60_000);
});
