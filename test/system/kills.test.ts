// A kill kills: guests that never answer are gone right after their deadline, however many there are.
import { afterAll, beforeAll, expect, test } from 'bun:test';
import {
  type Directory,
  type Running,
  WAIT_MS,
  childrenOf,
  fixture,
  freePort,
  isRunning,
  start,
  statusOf,
  temporaryDirectory,
  until,
} from './harness.ts';
import { ranOn, running } from './workers.ts';

const GUESTS = 128;
const ROUNDS = 3;
const EXECUTION_MS = 1_000;
/** Most workers have begun a request by then. */
const SNAPSHOT_MS = 800;
const GONE_MS = 100;
let directory: Directory;
let edge: Running;
let url: string;

beforeAll(async () => {
  directory = temporaryDirectory();
  const port = String(await freePort());
  url = `http://127.0.0.1:${port}/`;
  const bounds = ['--max-hot-instances', String(GUESTS), '--max-execution-ms', String(EXECUTION_MS)];
  const data = ['--data-dir', directory.path, '--listen', port];
  edge = start(['run', fixture('hostile/loop-forever.wasm'), ...data, ...bounds]);
  await until('the function answers', async () => (await statusOf(url)) === 504);
}, 2 * WAIT_MS);

afterAll(async () => {
  await edge.close();
  directory[Symbol.dispose]();
}, WAIT_MS);

function zygote(): number {
  const [pid] = childrenOf(edge.pid);
  if (pid === undefined) throw new Error('the engine process is gone');
  return pid;
}

test.each(Array.from({ length: ROUNDS }, (_, round) => round + 1))(
  `${GUESTS} guests that loop at once get 504 and burn nothing ${GONE_MS} ms later (round %p)`,
  async () => {
    const answers = Promise.all(Array.from({ length: GUESTS }, () => statusOf(url)));
    await Bun.sleep(SNAPSHOT_MS);
    const begun = new Set(running(zygote()));
    expect(begun.size).toBeGreaterThan(GUESTS / 4);
    expect(new Set(await answers)).toEqual(new Set([504]));
    await Bun.sleep(GONE_MS);
    expect(await ranOn(running(zygote()).filter((pid) => begun.has(pid)))).toEqual([]);
  },
  WAIT_MS,
);

test(
  'a guest is gone at its deadline while the zygote is stopped',
  async () => {
    const answer = statusOf(url);
    const [guest = 0] = await until('the guest runs', () => {
      const pids = running(zygote());
      return pids.length > 0 ? pids : null;
    });
    process.kill(zygote(), 'SIGSTOP');
    try {
      expect(await answer).toBe(504);
      await Bun.sleep(GONE_MS);
      expect(isRunning(guest)).toBe(false);
    } finally {
      process.kill(zygote(), 'SIGCONT');
    }
    expect(await statusOf(url)).toBe(504);
  },
  WAIT_MS,
);
