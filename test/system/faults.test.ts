// What one function does wrong stays its own: timeouts, crashes, and workers and engines killed from outside.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import {
  type Directory,
  type Up,
  WAIT_MS,
  childrenOf,
  codeOf,
  deployed,
  fixture,
  isRunning,
  startUp,
  temporaryDirectory,
  until,
} from './harness.ts';

const EXECUTION_MS = 300;
let directory: Directory;
let up: Up;

const answers = (path: string): Promise<Response> => fetch(`${up.publicUrl}${path}`);

/** Requests on the neighbour, one after another, until it is stopped; every status that was seen. */
function neighbourLoad(connections = 4): { stop(): Promise<Map<number, number>> } {
  const seen = new Map<number, number>();
  let running = true;
  const one = async (): Promise<void> => {
    while (running) {
      const response = await answers('/neighbour');
      await response.arrayBuffer();
      seen.set(response.status, (seen.get(response.status) ?? 0) + 1);
    }
  };
  const all = Array.from({ length: connections }, one);
  return {
    async stop() {
      running = false;
      await Promise.all(all);
      return seen;
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
    'is 504 in time while its neighbour answers everything',
    async () => {
      const load = neighbourLoad();
      for (let i = 0; i < 5; i += 1) {
        const begun = performance.now();
        const response = await answers('/loop');
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
    'is 500 with a stable code while its neighbour answers everything',
    async () => {
      const zygote = await up.zygote();
      const load = neighbourLoad();
      for (let i = 0; i < 10; i += 1) {
        const response = await answers('/deep');
        expect(response.status).toBe(500);
        expect(await codeOf(response)).toBe('guest_stack_exhausted');
      }
      expect([...(await load.stop()).keys()]).toEqual([200]);
      expect(await up.zygote()).toBe(zygote);
    },
    WAIT_MS,
  );

  test('is served again after a trap', async () => {
    for (let i = 0; i < 3; i += 1) {
      const response = await answers('/trap');
      expect(response.status).toBe(500);
      expect(await codeOf(response)).toBe('trap_unreachable');
    }
  });
});

describe('A worker killed from outside', () => {
  test(
    'costs at most its own request',
    async () => {
      const zygote = await up.zygote();
      const load = neighbourLoad();
      let killed = 0;
      for (let i = 0; i < 5; i += 1) {
        const worker = childrenOf(zygote)[0];
        if (worker !== undefined) {
          process.kill(worker, 'SIGKILL');
          killed += 1;
          await until('the worker is gone', () => !isRunning(worker));
        }
      }
      await until('the neighbour answers', async () => (await answers('/neighbour')).status === 200);
      const seen = await load.stop();
      expect(killed).toBeGreaterThan(0);
      for (const status of seen.keys()) expect([200, 500]).toContain(status);
      expect(seen.get(500) ?? 0).toBeLessThanOrEqual(killed);
      expect(await up.zygote()).toBe(zygote);
    },
    WAIT_MS,
  );
});

describe('The engine killed from outside, under load', () => {
  test(
    'is started again, and the edge never stops answering',
    async () => {
      const zygote = await up.zygote();
      const load = neighbourLoad(8);
      await until('the neighbour answers', async () => (await answers('/neighbour')).status === 200);
      process.kill(zygote, 'SIGKILL');
      const next = await until('another engine runs', () => childrenOf(up.pid).find((pid) => pid !== zygote));
      await until('the neighbour answers again', async () => (await answers('/neighbour')).status === 200);
      const seen = await load.stop();
      expect(next).not.toBe(zygote);
      for (const status of seen.keys()) expect([200, 503]).toContain(status);
      expect(seen.get(503) ?? 0).toBeLessThanOrEqual(8);
      expect(isRunning(up.pid)).toBe(true);
      expect((await answers('/trap')).status).toBe(500);
    },
    WAIT_MS,
  );
});
