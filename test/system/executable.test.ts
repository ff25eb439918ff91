// The executable by itself: usage errors, help, a port or directory in use, `edge run`, and how it stops.
import { describe, expect, test } from 'bun:test';
import { copyFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  childrenOf,
  deployed,
  executable,
  fixture,
  freePort,
  isRunning,
  run,
  start,
  startUp,
  statusOf,
  temporaryDirectory,
  until,
} from './harness.ts';

describe('A wrong command line', () => {
  test.each([
    [['--no-such-flag']],
    [['up', '--listn', '127.0.0.1:1']],
    [['--mode=moon']],
    [['up', '--listen', 'nowhere']],
    [['up', '--listen', '127.0.0.1:70000']],
    [['deploy']],
    [['no-such-command']],
    [['--mode=edge']],
  ])('%j fails with exit code 2, one line that says why and at most one hint', async (args) => {
    const { code, out, err } = await run(args);
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err.trim().split('\n').length).toBeLessThanOrEqual(2);
    expect(err).toStartWith('edge: ');
  });
});

describe('Help', () => {
  test.each([['up'], ['deploy'], ['run'], ['rollback'], ['join-token']])(
    'edge %s --help explains the command',
    async (command) => {
      const { code, out } = await run([command, '--help']);
      expect(code).toBe(0);
      expect(out.length).toBeGreaterThan(200);
    },
  );

  test('edge version prints one line', async () => {
    const { code, out } = await run(['version']);
    expect(code).toBe(0);
    expect(out).toMatch(/^edge \d+\.\d+\.\d+/);
  });
});

describe('A port in use', () => {
  test('is named, and the exit code is 1', async () => {
    using directory = temporaryDirectory();
    const taken = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Response('taken') });
    try {
      const args = ['up', '--data-dir', directory.path, '--listen', `127.0.0.1:${taken.port}`];
      const others = [
        '--cp-listen',
        `127.0.0.1:${await freePort()}`,
        '--metrics-listen',
        `127.0.0.1:${await freePort()}`,
      ];
      const { code, err, out } = await run([...args, ...others]);
      expect(code).toBe(1);
      expect(err).toContain(String(taken.port));
      expect(`${out}${err}`).not.toContain('"level":"error"');
    } finally {
      await taken.stop(true);
    }
  }, 60_000);
});

describe('A data directory in use', () => {
  test('is named, the exit code is 1, and the process that has it keeps running', async () => {
    using directory = temporaryDirectory();
    const up = await startUp(directory.path);
    try {
      const second = await run(['up', '--data-dir', directory.path]);
      expect(second.code).toBe(1);
      expect(second.err).toContain(`${directory.path} is in use by another process`);
      const token = ['--cp-url', up.controlUrl, '--join-token', 'any'];
      const node = join(directory.path, 'node');
      const edge = await run(['--mode=edge', '--data-dir', node, ...token]);
      expect(edge.code).toBe(1);
      expect(edge.err).toContain(`${node} is in use by another process`);
      expect(await statusOf(`${up.metricsUrl}/readyz`)).toBe(200);
    } finally {
      await up.close();
    }
  }, 60_000);
});

describe('edge run', () => {
  test('serves one module on every path, without a control plane', async () => {
    const port = await freePort();
    const running = start(['run', fixture('hello/hello-c.wasm'), '--listen', `127.0.0.1:${port}`]);
    try {
      const url = `http://127.0.0.1:${port}/anything`;
      await until('it answers', async () => (await statusOf(url)) === 200);
      expect(await (await fetch(url)).text()).toBe('Hello from edge!\n');
    } finally {
      await running.close();
    }
    expect(await running.exited).toBe(0);
  }, 60_000);

  test('refuses a file that is not a module with the code of its fault', async () => {
    const { code, err } = await run(['run', fixture('hostile/bad-magic.wasm'), '--listen', '127.0.0.1:0']);
    expect(code).toBe(1);
    expect(err).toContain('bad_magic');
  });
});

describe('A copy of the executable in an empty directory', () => {
  test('needs no other file', async () => {
    using directory = temporaryDirectory();
    using home = temporaryDirectory();
    const program = join(directory.path, 'edge');
    copyFileSync(executable(), program);
    const env = { HOME: home.path, XDG_CACHE_HOME: join(home.path, 'cache') };
    const version = await run(['version'], { program, cwd: directory.path, env });
    expect(version.code).toBe(0);
    const up = await startUp(join(directory.path, 'data'), { program, env });
    try {
      await deployed(up, fixture('hello/hello-c.wasm'), ['--name', 'hello', '--route', '/hello']);
      expect((await fetch(`${up.publicUrl}/hello`)).status).toBe(200);
      expect(readdirSync(directory.path).toSorted()).toEqual(['data', 'edge']);
      expect(statSync(join(directory.path, 'data', 'admin-token')).mode & 0o777).toBe(0o600);
    } finally {
      await up.close();
    }
  }, 120_000);
});

describe('A signal', () => {
  test('SIGTERM ends the program with exit code 0 and leaves no process behind', async () => {
    using directory = temporaryDirectory();
    const up = await startUp(directory.path);
    await deployed(up, fixture('hello/hello-c.wasm'), ['--name', 'hello', '--route', '/hello']);
    const family = childrenOf(up.pid).flatMap((pid) => [pid, ...childrenOf(pid)]);
    expect(family.length).toBeGreaterThan(1);
    up.signal('SIGTERM');
    expect(await up.exited).toBe(0);
    await until('all its processes have ended', () => family.every((pid) => !isRunning(pid)));
  }, 60_000);

  test('SIGINT that arrives twice at once ends the program with exit code 0', async () => {
    using directory = temporaryDirectory();
    const up = await startUp(directory.path);
    up.signal('SIGINT');
    up.signal('SIGINT');
    expect(await up.exited).toBe(0);
  }, 60_000);

  test('SIGKILL leaves no process behind', async () => {
    using directory = temporaryDirectory();
    const up = await startUp(directory.path);
    await deployed(up, fixture('hello/hello-c.wasm'), ['--name', 'hello', '--route', '/hello']);
    const family = childrenOf(up.pid).flatMap((pid) => [pid, ...childrenOf(pid)]);
    up.signal('SIGKILL');
    await up.exited;
    await until('all its processes have ended', () => family.every((pid) => !isRunning(pid)));
  }, 60_000);
});
