// Liveness of nodes while the control plane is frozen and while the wall clock jumps.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { type Directory, freePort, type Running, start, temporaryDirectory, until } from '../harness.ts';
import { createPlane, type Plane } from './plane.ts';

const TEST_MS = 60_000;
const OFFLINE_SECS = 4;
const DAY_SECS = 86_400;
let directory: Directory;
let plane: Plane;
const edges: Running[] = [];

beforeAll(async () => {
  directory = temporaryDirectory();
  plane = await createPlane(directory.path, ['--node-offline-secs', String(OFFLINE_SECS)]);
  await plane.open();
  await startEdge('alive');
}, TEST_MS);

afterAll(async () => {
  for (const edge of edges) await edge.close();
  await plane.close();
  directory[Symbol.dispose]();
}, TEST_MS);

async function startEdge(nodeId: string): Promise<Running> {
  const { out } = await plane.cli(['join-token']);
  const dir = join(directory.path, nodeId);
  const args = ['--mode=edge', `--cp-url=${plane.url}`, `--node-id=${nodeId}`, '--heartbeat-interval-secs=1'];
  args.push(
    `--data-dir=${dir}`,
    `--cache-dir=${dir}/cache`,
    '--pool-workers-min=0',
    '--join-token',
    out.trim(),
  );
  args.push(`--listen=${await freePort()}`, `--metrics-listen=${await freePort()}`);
  const edge = start(args);
  edges.push(edge);
  await until(`${nodeId} reports`, async () => (await nodeNow(nodeId)).last_heartbeat_at);
  return edge;
}

type Node = { status: string; last_heartbeat_at: string | null };
const nodeNow = async (id: string): Promise<Node> => (await plane.send('GET', `/nodes/${id}`)).json as Node;

async function offlineCount(nodeId: string): Promise<number> {
  const { items } = (await plane.send('GET', '/audit?limit=200')).json as {
    items: { action: string; target: string }[];
  };
  return items.filter(({ action, target }) => action === 'node.offline' && target === nodeId).length;
}

/** Ends a node without a word, and waits until the control plane says that it is offline. */
async function expectOfflineAfterKill(nodeId: string): Promise<void> {
  const edge = await startEdge(nodeId);
  edge.signal('SIGKILL');
  await until(`${nodeId} is offline`, async () => (await nodeNow(nodeId)).status === 'offline');
}

test(
  'A control plane that was stopped for longer than the limit marks nobody falsely, and still marks who is gone',
  async () => {
    const { pid } = plane.running();
    process.kill(pid, 'SIGSTOP');
    // Only time makes a stop longer than the limit.
    await Bun.sleep(1.5 * OFFLINE_SECS * 1_000);
    process.kill(pid, 'SIGCONT');
    const heard = (await nodeNow('alive')).last_heartbeat_at;
    await until('the node reports again', async () => (await nodeNow('alive')).last_heartbeat_at !== heard);
    await expectOfflineAfterKill('gone');
    expect([(await nodeNow('alive')).status, await offlineCount('alive')]).toEqual(['online', 0]);
  },
  TEST_MS,
);

describe('A wall clock that jumps', () => {
  test.each([DAY_SECS, -DAY_SECS])(
    'by %p s marks nobody falsely, and keeps nobody online',
    async (seconds) => {
      plane.order(`clock ${seconds}`);
      const aDayOff = (at: string | null): boolean =>
        at !== null && Math.abs(Date.parse(at) - Date.now() - seconds * 1_000) < 60_000;
      await until('times are shown by that clock', async () =>
        aDayOff((await nodeNow('alive')).last_heartbeat_at),
      );
      await expectOfflineAfterKill(`gone-${seconds}`);
      expect([(await nodeNow('alive')).status, await offlineCount('alive')]).toEqual(['online', 0]);
      plane.order(null);
    },
    TEST_MS,
  );
});
