// A kill kills: guests that never answer are gone right after their deadline, however many there are.
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
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

/** Workers that have the processor or wait for it. */
function burning(): number[] {
  return childrenOf(zygote()).filter((pid) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) === 'R';
    } catch {
      return false;
    }
  });
}

test.each(Array.from({ length: ROUNDS }, (_, round) => round + 1))(
  `${GUESTS} guests that loop at once get 504 and burn nothing ${GONE_MS} ms later (round %p)`,
  async () => {
    const answers = Promise.all(Array.from({ length: GUESTS }, () => statusOf(url)));
    await Bun.sleep(SNAPSHOT_MS);
    const begun = new Set(burning());
    expect(begun.size).toBeGreaterThan(GUESTS / 4);
    expect(new Set(await answers)).toEqual(new Set([504]));
    await Bun.sleep(GONE_MS);
    expect(burning().filter((pid) => begun.has(pid))).toEqual([]);
  },
  WAIT_MS,
);

test(
  'a guest is gone at its deadline while the zygote is stopped',
  async () => {
    const answer = statusOf(url);
    const [guest = 0] = await until('the guest runs', () => (burning().length > 0 ? burning() : null));
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
