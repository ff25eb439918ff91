// An edge whose disk is full, read-only or damaged serves on, does what it is told, and recovers alone.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Directory,
  type Finished,
  type Running,
  fixture,
  freePort,
  run,
  start,
  statusOf,
  temporaryDirectory,
  until,
  WAIT_MS,
} from './harness.ts';

let directory: Directory;
let control: Running;
let edge: Running;
let token = '';
let joinToken = '';
let ports: { control: number; controlMetrics: number; listen: number; metrics: number };

const disk = (): string => join(directory.path, 'disk');
const dataDir = (): string => join(disk(), 'data');
const url = (path: string): string => `http://127.0.0.1:${ports.listen}${path}`;
const sh = (...command: string[]): void => {
  const { exitCode, stderr } = Bun.spawnSync(command);
  if (exitCode !== 0) throw new Error(`${command.join(' ')}: ${stderr.toString()}`);
};
const cli = (...args: string[]): Promise<Finished> =>
  run(args, { env: { EDGE_URL: `http://127.0.0.1:${ports.control}`, EDGE_TOKEN: token } });

async function mustRun(...args: string[]): Promise<string> {
  const { code, out, err } = await cli(...args);
  if (code !== 0) throw new Error(`edge ${args.join(' ')}: ${err}`);
  return out.trim();
}

const bodyOf = async (path: string): Promise<string> => (await fetch(url(path))).text();
const answers = (path: string, status: number): Promise<boolean> =>
  until(`${path} answers ${status}`, async () => (await statusOf(url(path))) === status);

async function startEdge(): Promise<void> {
  const args = ['--mode=edge', `--cp-url=http://127.0.0.1:${ports.control}`, '--node-id=n1', '--pop-id=p1'];
  args.push(`--data-dir=${dataDir()}`, `--cache-dir=${join(disk(), 'cache')}`, '--join-token', joinToken);
  args.push(`--listen=127.0.0.1:${ports.listen}`, `--metrics-listen=127.0.0.1:${ports.metrics}`);
  edge = start(args);
  const isReady = async (): Promise<boolean> =>
    (await statusOf(`http://127.0.0.1:${ports.metrics}/readyz`)) === 200;
  await until('the edge is ready', isReady).catch((failure: unknown) => {
    throw new Error(`${String(failure)}\n${edge.output()}`);
  });
}

async function startControl(): Promise<void> {
  control = start([
    '--mode=cp',
    `--data-dir=${join(directory.path, 'cp')}`,
    `--cp-listen=127.0.0.1:${ports.control}`,
    `--metrics-listen=127.0.0.1:${ports.controlMetrics}`,
  ]);
  const isReady = async (): Promise<boolean> =>
    (await statusOf(`http://127.0.0.1:${ports.control}/readyz`)) === 200;
  await until('the control plane is ready', isReady);
}

/** A deploy does not wait for nodes that are offline, as this one is from its end to its next heartbeat. */
const nodeIsBack = (): Promise<boolean> =>
  until('the node is online', async () => {
    const [node] = JSON.parse(await mustRun('nodes', '--json')) as { status: string }[];
    return node?.status === 'online';
  });

beforeAll(async () => {
  directory = temporaryDirectory();
  ports = {
    control: await freePort(),
    controlMetrics: await freePort(),
    listen: await freePort(),
    metrics: await freePort(),
  };
  mkdirSync(disk());
  await startControl();
  token = readFileSync(join(directory.path, 'cp', 'admin-token'), 'utf8').trim();
  joinToken = await mustRun('join-token');
}, WAIT_MS);

afterAll(async () => {
  await edge.close();
  await control.close();
  directory[Symbol.dispose]();
}, WAIT_MS);

const HELLO = fixture('hello/hello-c.wasm');
const deploy = (name: string, version: string, file = HELLO): Promise<string> =>
  mustRun('deploy', file, '--name', name, '--route', `/${name}`, '--version', version);

describe.skipIf(process.getuid?.() !== 0)('An edge on a disk of its own', () => {
  beforeAll(async () => {
    sh('mount', '-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', disk());
    await startEdge();
    await deploy('one', '1.0.0');
    await deploy('two', '1.0.0');
  }, WAIT_MS);

  afterAll(async () => {
    await edge.close();
    sh('umount', disk());
  }, WAIT_MS);

  const fill = (): void => void Bun.spawnSync(['dd', 'if=/dev/zero', `of=${join(disk(), 'fill')}`, 'bs=64k']);

  test(
    'that fills up deploys, undeploys, starts again, and stores everything once there is room',
    async () => {
      fill();
      await deploy('one', '2.0.0');
      await deploy('three', '1.0.0', fixture('hello/hello-rust.wasm'));
      expect((await fetch(url('/one'))).headers.get('x-edge-version')).toBe('2.0.0');
      expect(await statusOf(url('/three'))).toBe(200);
      await mustRun('undeploy', 'two');
      await answers('/two', 404);
      expect(edge.output()).not.toContain('cannot be reached');
      expect(edge.output()).toContain('no space left');
      await edge.close();
      await startEdge();
      await answers('/three', 200);
      await answers('/two', 404);
      rmSync(join(disk(), 'fill'));
      await nodeIsBack();
      await deploy('four', '1.0.0');
      await edge.close();
      await control.close();
      await startEdge();
      for (const name of ['one', 'three', 'four']) expect(await bodyOf(`/${name}`)).toContain('Hello');
      expect(await statusOf(url('/two'))).toBe(404);
      await startControl();
    },
    4 * WAIT_MS,
  );

  test(
    'that turns read-only serves what it has, also after a start without its control plane',
    async () => {
      await edge.close();
      await control.close();
      sh('mount', '-o', 'remount,ro', disk());
      await startEdge();
      for (const name of ['one', 'three', 'four']) expect(await bodyOf(`/${name}`)).toContain('Hello');
      await startControl();
      await mustRun('undeploy', 'four');
      await answers('/four', 404);
      await nodeIsBack();
      await deploy('one', '3.0.0');
      expect((await fetch(url('/one'))).headers.get('x-edge-version')).toBe('3.0.0');
      sh('mount', '-o', 'remount,rw', disk());
    },
    4 * WAIT_MS,
  );
});

describe('An edge whose files are damaged', () => {
  test(
    'serves what the last good copies allow, and mends the rest',
    async () => {
      rmSync(disk(), { recursive: true, force: true });
      mkdirSync(disk());
      joinToken = await mustRun('join-token', '--node', 'n1');
      await startEdge();
      await deploy('five', '1.0.0');
      await deploy('five', '2.0.0');
      await answers('/five', 200);
      await edge.close();
      await control.close();
      for (const name of ['node.json', 'desired.state', 'node.key', 'node.lock'])
        truncateSync(join(dataDir(), name), 1);
      writeFileSync(join(disk(), 'cache', 'index.sqlite'), 'garbage');
      await startEdge();
      expect(await bodyOf('/five')).toContain('Hello');
      await startControl();
      await nodeIsBack();
      await deploy('five', '3.0.0');
      const isNew = async (): Promise<boolean> =>
        (await fetch(url('/five'))).headers.get('x-edge-version') === '3.0.0';
      await until('the edge takes the new version', isNew);
      await edge.close();
      await startEdge();
      expect(edge.output()).not.toContain('damaged');
    },
    4 * WAIT_MS,
  );
});
