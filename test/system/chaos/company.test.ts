// Who else is here: a second control plane, a second node of one identity, a limit that is too low.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Directory,
  executable,
  freePort,
  run,
  type Running,
  start,
  temporaryDirectory,
  until,
} from '../harness.ts';
import { createPlane, type Plane } from './plane.ts';

const TEST_MS = 60_000;
let directory: Directory;
let plane: Plane;
const edges: Running[] = [];

beforeAll(async () => {
  directory = temporaryDirectory();
  plane = await createPlane(directory.path, ['--node-offline-secs', '4']);
  await plane.open();
}, TEST_MS);

afterAll(async () => {
  for (const edge of edges) await edge.close();
  await plane.close();
  directory[Symbol.dispose]();
}, TEST_MS);

async function startEdge(dir: string, args: string[] = []): Promise<Running> {
  const all = ['--mode=edge', `--cp-url=${plane.url}`, '--node-id=twin', '--heartbeat-interval-secs=1'];
  all.push(`--data-dir=${dir}`, `--cache-dir=${dir}/cache`, '--pool-workers-min=0');
  all.push(`--listen=${await freePort()}`, `--metrics-listen=${await freePort()}`, ...args);
  const edge = start(all);
  edges.push(edge);
  return edge;
}

type Node = { last_heartbeat_at: string | null; instances: { host: string }[] };
const nodeNow = async (): Promise<Node> => (await plane.send('GET', '/nodes/twin')).json as Node;

describe('A second control plane', () => {
  test('is refused the data directory of the first, also without the lock file', async () => {
    const second = async () => {
      const args = ['--mode=cp', '--data-dir', plane.dataDir, `--cp-listen=${await freePort()}`];
      return run([...args, `--metrics-listen=${await freePort()}`]);
    };
    for (const removed of [[], ['control.lock'], ['control.lock', 'control.lock-journal', 'cli.json']]) {
      for (const name of removed) rmSync(join(plane.dataDir, name), { force: true });
      const { code, err } = await second();
      expect([code, err]).toEqual([1, expect.stringContaining('data_dir_in_use')]);
    }
    expect((await plane.send('POST', '/functions', { body: { name: 'mine' } })).status).toBe(201);
  });

  test(
    'gets the directory as soon as the first was killed',
    async () => {
      plane.running().signal('SIGKILL');
      await plane.reopenAfterDeath();
    },
    TEST_MS,
  );
});

describe('A node that was copied', () => {
  test(
    'is shown, logged and counted with both of its processes, and no longer once one is gone',
    async () => {
      const { out } = await plane.cli(['join-token']);
      const original = join(directory.path, 'original');
      const first = await startEdge(original, ['--join-token', out.trim()]);
      await until('the node reports', async () => (await nodeNow()).last_heartbeat_at);
      await first.close();
      const copy = join(directory.path, 'copy');
      cpSync(original, copy, { recursive: true });
      await startEdge(original);
      const second = await startEdge(copy);
      await until('both are shown', async () => (await nodeNow()).instances.length === 2);
      const shown = await plane.cli(['nodes']);
      expect(shown.out).toContain('2 processes');
      expect(shown.err).toContain('2 processes report as node twin');
      const metrics = await (await fetch(`${plane.metricsUrl}/metrics`)).text();
      expect(metrics).toContain('control_node_instances{node_id="twin"} 2');
      expect(plane.running().output()).toContain('several processes report as one node');
      await second.close();
      await until('one is shown', async () => (await nodeNow()).instances.length === 1);
    },
    TEST_MS,
  );
});

describe('A limit of open files that is too low', () => {
  test('is said at the start, with the number that is needed', async () => {
    const ports = [await freePort(), await freePort()];
    const args = [`--cp-listen=${ports[0]}`, `--metrics-listen=${ports[1]}`];
    const command = `ulimit -n 256; exec "$0" --mode=cp --data-dir "${directory.path}/low" ${args.join(' ')}`;
    const low = start(['-c', command, executable()], { program: '/bin/sh' });
    try {
      await until('it says so', () => low.output().includes('open_files_low'));
      expect(low.output()).toMatch(
        /may open 256 files and needs \d+ .*\n {2}Raise the limit: `ulimit -n \d+`/,
      );
    } finally {
      await low.close();
    }
  });
});
