// A control plane that is restored, moved, or has lost its key, and an edge that serves through all of it.
import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Directory,
  fixture,
  freePort,
  type Running,
  start,
  statusOf,
  temporaryDirectory,
  until,
} from '../harness.ts';
import { createPlane, type Plane } from './plane.ts';

const TEST_MS = 120_000;
const [V1, V2] = ['Hello from edge!\n', 'Hello again from edge!\n'];

let directory: Directory;
let otherDirectory: Directory;
let plane: Plane;
let other: Plane;
let edge: Running;
const ports = { listen: 0, metrics: 0 };

async function startEdge(at: Plane, joinToken: string | null): Promise<void> {
  const dir = join(directory.path, 'edge');
  const args = ['--mode=edge', `--cp-url=${at.url}`, '--node-id=n1', '--pool-workers-min=0'];
  args.push(`--data-dir=${dir}`, `--cache-dir=${dir}/cache`, '--heartbeat-interval-secs=1');
  args.push(`--listen=127.0.0.1:${ports.listen}`, `--metrics-listen=127.0.0.1:${ports.metrics}`);
  edge = start([...args, ...(joinToken === null ? [] : [`--join-token=${joinToken}`])]);
  await until('the edge is ready', async () => (await statusOf(`${metricsUrl()}/readyz`)) === 200);
}

const metricsUrl = (): string => `http://127.0.0.1:${ports.metrics}`;
const functionUrl = (): string => `http://127.0.0.1:${ports.listen}/hello`;
const served = async (): Promise<string> => (await fetch(functionUrl())).text();

async function figure(name: string): Promise<number> {
  const text = await (await fetch(`${metricsUrl()}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(`${name} `));
  return line === undefined ? 0 : Number(line.slice(name.length + 1));
}

async function joinTokenOf(at: Plane): Promise<string> {
  const { json } = await at.send('POST', '/nodes/join-tokens', { body: { node_id: 'n1' } });
  return (json as { join_token: string }).join_token;
}

async function deploy(at: Plane, file: string, args: string[] = []): Promise<void> {
  const { code, out, err } = await at.cli(['deploy', fixture(`hello/${file}`), '--name', 'hello', ...args]);
  if (code !== 0) throw new Error(`${err}${out}`);
}

type Shown = { status: string; diverged: { reason: string } | null };

async function shown(): Promise<Shown> {
  return (await plane.send('GET', '/nodes/n1')).json as Shown;
}

/** Asks for the function, one request after the other, until `stop`; returns what went wrong. */
function askOn(): { stop(): Promise<{ asked: number; failed: string[] }> } {
  let isOver = false;
  const tally = { asked: 0, failed: [] as string[] };
  const running = (async () => {
    while (!isOver) {
      try {
        const response = await fetch(functionUrl());
        const text = await response.text();
        if (response.status !== 200) tally.failed.push(`${response.status} ${text}`);
      } catch (failure) {
        tally.failed.push(String(failure));
      }
      tally.asked += 1;
      await Bun.sleep(2);
    }
  })();
  return {
    async stop() {
      isOver = true;
      await running;
      return tally;
    },
  };
}

beforeAll(async () => {
  directory = temporaryDirectory();
  plane = await createPlane(directory.path);
  otherDirectory = temporaryDirectory();
  other = await createPlane(otherDirectory.path);
  await plane.open();
  for (const name of ['listen', 'metrics'] as const) ports[name] = await freePort();
  await startEdge(plane, await joinTokenOf(plane));
  await deploy(plane, 'hello-c.wasm', ['--route', '/hello']);
}, TEST_MS);

afterAll(async () => {
  await edge.close();
  await plane.close();
  await other.close();
  for (const one of [directory, otherDirectory]) one[Symbol.dispose]();
}, TEST_MS);

/** Kills the control plane and starts it with the database of the backup. */
async function restore(backup: string): Promise<void> {
  plane.running().signal('SIGKILL');
  await plane.running().exited;
  for (const end of ['-wal', '-shm']) rmSync(join(plane.dataDir, `control.db${end}`), { force: true });
  copyFileSync(backup, join(plane.dataDir, 'control.db'));
  await plane.open();
}

describe('A control plane that is restored from a backup', () => {
  test(
    'shows the node that is ahead, and takes it back when told to, without a failed request',
    async () => {
      const backup = join(directory.path, 'backup.db');
      {
        using sqlite = new Database(join(plane.dataDir, 'control.db'), { readonly: true });
        sqlite.run(`VACUUM INTO '${backup}'`);
      }
      await deploy(plane, 'hello-v2.wasm');
      expect(await served()).toBe(V2);
      const asking = askOn();
      await restore(backup);
      expect(plane.running().output()).toContain('it was restored from a backup');

      await until('the node is shown as diverged', async () => (await shown()).diverged !== null);
      expect(await figure('edge_heartbeats_total{result="refused"}')).toBeLessThanOrEqual(2);
      expect(await shown()).toMatchObject({ status: 'online', diverged: { reason: 'other_epoch' } });
      expect(await served()).toBe(V2);
      expect(await figure('edge_diverged')).toBe(1);
      expect(edge.output()).toContain('edge node rebase n1');
      const listed = await plane.cli(['nodes']);
      expect(listed.out).toContain('online, diverged');
      expect(listed.err).toContain('edge node rebase n1');

      const told = await plane.cli(['node', 'rebase', 'n1']);
      expect(`${told.code} ${told.err}`).toStartWith('0');
      await until('the node has the state of the restored database', async () => (await served()) === V1);
      await until('the node is not shown as diverged', async () => (await shown()).diverged === null);
      expect(await figure('edge_diverged')).toBe(0);
      const { asked, failed } = await asking.stop();
      expect(failed).toEqual([]);
      expect(asked).toBeGreaterThan(100);

      const again = await plane.cli(['node', 'rebase', 'n1']);
      expect([again.code, again.err]).toEqual([1, expect.stringContaining('node_not_diverged')]);
    },
    TEST_MS,
  );

  test(
    'is followed by the node from then on, also over restarts of both',
    async () => {
      await plane.close();
      await edge.close();
      await startEdge(plane, null);
      expect(await served()).toBe(V1);
      await plane.open();
      await deploy(plane, 'hello-v2.wasm');
      expect(await served()).toBe(V2);
    },
    TEST_MS,
  );
});

describe('A control plane whose signing key is lost', () => {
  test(
    'does not start, says what to restore, and starts with the key',
    async () => {
      await plane.close();
      const key = join(plane.dataDir, 'signing-key.pem');
      copyFileSync(key, join(directory.path, 'kept.pem'));
      rmSync(key);
      await expect(plane.open()).rejects.toThrow('"signing-key.pem" is missing');
      expect(await plane.running().exited).toBe(1);
      expect(plane.running().output()).toContain('restore this file from a backup');
      copyFileSync(join(directory.path, 'kept.pem'), key);
      await plane.open();
    },
    TEST_MS,
  );
});

describe('An edge that is moved to another control plane', () => {
  test(
    'keeps serving and says what to do',
    async () => {
      await other.open();
      await edge.close();
      await startEdge(other, null);
      await until('it says that it is refused', async () => (await figure('edge_diverged')) === 1);
      expect(edge.output()).toContain('--join-token');
      expect(await served()).toBe(V2);
    },
    TEST_MS,
  );

  test(
    'joins it with a token of it, and serves what it is told there',
    async () => {
      await deploy(other, 'hello-c.wasm', ['--route', '/hello', '--allow-empty', '--wait-secs', '0']);
      await edge.close();
      await startEdge(other, await joinTokenOf(other));
      const asking = askOn();
      await until('it serves what it is told there', async () => (await served()) === V1);
      await until('they agree', async () => (await figure('edge_diverged')) === 0);
      expect((await asking.stop()).failed).toEqual([]);
      expect(edge.output()).toContain('joining it with the join token');
    },
    TEST_MS,
  );
});
