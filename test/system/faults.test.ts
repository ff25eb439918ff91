// Faults stay in their function: timeouts, crashes, and workers or engines killed from outside.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { copyFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Directory,
  type Up,
  WAIT_MS,
  childrenOf,
  codeOf,
  deployed,
  executable,
  fixture,
  freePort,
  isRunning,
  start,
  startUp,
  statusOf,
  temporaryDirectory,
  until,
} from './harness.ts';

const EXECUTION_MS = 300;
let directory: Directory;
let up: Up;

const request = (path: string): Promise<Response> => fetch(`${up.publicUrl}${path}`);

/** Sends requests to the neighbour until it is stopped; counts the answers by status. */
function neighbourLoad(connections = 4): { stop(): Promise<Map<number, number>> } {
  const counts = new Map<number, number>();
  let running = true;
  const one = async (): Promise<void> => {
    while (running) {
      const response = await request('/neighbour');
      await response.arrayBuffer();
      counts.set(response.status, (counts.get(response.status) ?? 0) + 1);
    }
  };
  const all = Array.from({ length: connections }, one);
  return {
    async stop() {
      running = false;
      await Promise.all(all);
      return counts;
    },
  };
}

beforeAll(async () => {
  directory = temporaryDirectory();
  up = await startUp(directory.path, { args: ['--invocations-per-minute', '100000000'] });
  const limited = ['--max-execution-ms', String(EXECUTION_MS)];
  await deployed(up, fixture('hello/hello-c.wasm'), ['--name', 'neighbour', '--route', '/neighbour']);
  await deployed(up, fixture('hostile/loop-forever.wasm'), [
    '--name',
    'loop',
    '--route',
    '/loop',
    ...limited,
  ]);
  await deployed(up, fixture('hostile/recursion-deep.wasm'), [
    '--name',
    'deep',
    '--route',
    '/deep',
    '--max-execution-ms',
    '5000',
  ]);
  await deployed(up, fixture('hostile/unreachable.wasm'), ['--name', 'trap', '--route', '/trap', ...limited]);
}, 120_000);

afterAll(async () => {
  await up.close();
  directory[Symbol.dispose]();
}, WAIT_MS);

describe('A function that never answers', () => {
  test(
    'gets 504 at its time limit while its neighbour answers every request',
    async () => {
      const load = neighbourLoad();
      for (let i = 0; i < 5; i += 1) {
        const begun = performance.now();
        const response = await request('/loop');
        const took = performance.now() - begun;
        expect(response.status).toBe(504);
        expect(await codeOf(response)).toBe('execution_timeout');
        expect(took).toBeGreaterThanOrEqual(EXECUTION_MS - 5);
        expect(took).toBeLessThan(EXECUTION_MS + 250);
      }
      expect([...(await load.stop()).keys()]).toEqual([200]);
    },
    WAIT_MS,
  );
});

describe('A function that crashes its worker', () => {
  test(
    'gets 500 with a stable code while its neighbour answers every request',
    async () => {
      const zygote = await up.zygote();
      const load = neighbourLoad();
      for (let i = 0; i < 10; i += 1) {
        const response = await request('/deep');
        expect(response.status).toBe(500);
        expect(await codeOf(response)).toBe('guest_stack_exhausted');
      }
      expect([...(await load.stop()).keys()]).toEqual([200]);
      expect(await up.zygote()).toBe(zygote);
    },
    WAIT_MS,
  );

  test('answers again after a trap', async () => {
    for (let i = 0; i < 3; i += 1) {
      const response = await request('/trap');
      expect(response.status).toBe(500);
      expect(await codeOf(response)).toBe('trap_unreachable');
    }
  });
});

describe('A worker killed from outside', () => {
  test(
    'costs at most the request that it serves',
    async () => {
      const zygote = await up.zygote();
      const load = neighbourLoad();
      let killed = 0;
      for (let i = 0; i < 5; i += 1) {
        const worker = childrenOf(zygote)[0];
        if (worker !== undefined) {
          process.kill(worker, 'SIGKILL');
          killed += 1;
          await until('the worker has ended', () => !isRunning(worker));
        }
      }
      await until('the neighbour answers', async () => (await request('/neighbour')).status === 200);
      const counts = await load.stop();
      expect(killed).toBeGreaterThan(0);
      for (const status of counts.keys()) expect([200, 500]).toContain(status);
      expect(counts.get(500) ?? 0).toBeLessThanOrEqual(killed);
      expect(await up.zygote()).toBe(zygote);
    },
    WAIT_MS,
  );
});

describe('The engine killed from outside, under load', () => {
  test(
    'is started again, and the edge keeps answering',
    async () => {
      const zygote = await up.zygote();
      const load = neighbourLoad(8);
      await until('the neighbour answers', async () => (await request('/neighbour')).status === 200);
      process.kill(zygote, 'SIGKILL');
      const next = await until('another engine runs', () => childrenOf(up.pid).find((pid) => pid !== zygote));
      await until('the neighbour answers again', async () => (await request('/neighbour')).status === 200);
      const counts = await load.stop();
      expect(next).not.toBe(zygote);
      for (const status of counts.keys()) expect([200, 503]).toContain(status);
      expect(counts.get(503) ?? 0).toBeLessThanOrEqual(8);
      expect(isRunning(up.pid)).toBe(true);
      expect((await request('/trap')).status).toBe(500);
    },
    WAIT_MS,
  );
});

/** Found within two seconds; the rest is for a busy machine. */
const REPLACED_MS = 3_000;

describe('The engine stopped from outside', () => {
  test(
    'makes the node not ready, and is replaced',
    async () => {
      const ready = `${up.metricsUrl}/readyz`;
      const zygote = await up.zygote();
      await until('the neighbour answers', async () => (await request('/neighbour')).status === 200);
      process.kill(zygote, 'SIGSTOP');
      await until('the node is not ready', async () => (await statusOf(ready)) === 503);
      expect(await (await fetch(ready)).json()).toMatchObject({ ready: false, waiting_for: ['engine'] });
      await until('the stopped engine is gone', () => !isRunning(zygote), REPLACED_MS);
      await until('the node is ready', async () => (await statusOf(ready)) === 200);
      expect((await request('/neighbour')).status).toBe(200);
      expect(up.output()).toContain('does not answer and is killed');
    },
    2 * WAIT_MS,
  );
});

test(
  'An executable that was replaced while it runs starts its engine again',
  async () => {
    using own = temporaryDirectory();
    const program = join(own.path, 'edge');
    copyFileSync(executable(), program);
    const port = String(await freePort());
    const url = `http://127.0.0.1:${port}/`;
    const data = ['--data-dir', join(own.path, 'data'), '--listen', port];
    const running = start(['run', fixture('hello/hello-c.wasm'), ...data], { program });
    try {
      await until('the function answers', async () => (await statusOf(url)) === 200);
      writeFileSync(`${program}.new`, 'another version');
      renameSync(`${program}.new`, program);
      const [zygote = 0] = childrenOf(running.pid);
      process.kill(zygote, 'SIGKILL');
      await until('another engine runs', () => childrenOf(running.pid).some((pid) => pid !== zygote));
      await until('the function answers again', async () => (await statusOf(url)) === 200);
    } finally {
      await running.close();
    }
  },
  2 * WAIT_MS,
);
