// A control plane and an edge as two processes: join, selectors, damaged artifacts, a lost control plane.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Directory,
  type Finished,
  type Running,
  WAIT_MS,
  codeOf,
  fixture,
  freePort,
  run,
  start,
  statusOf,
  temporaryDirectory,
  until,
} from './harness.ts';

let directory: Directory;
let control: Running;
let edge: Running;
let token: string;
const ports = { control: 0, listen: 0, metrics: 0, controlMetrics: 0 };
const controlUrl = (): string => `http://127.0.0.1:${ports.control}`;
const publicUrl = (): string => `http://127.0.0.1:${ports.listen}`;
const metricsUrl = (): string => `http://127.0.0.1:${ports.metrics}`;
const cli = (args: string[]): Promise<Finished> =>
  run(args, { env: { EDGE_URL: controlUrl(), EDGE_TOKEN: token } });

async function startControl(): Promise<void> {
  const args = [
    '--mode=cp',
    '--data-dir',
    join(directory.path, 'cp'),
    '--cp-listen',
    `127.0.0.1:${ports.control}`,
  ];
  control = start([...args, '--metrics-listen', `127.0.0.1:${ports.controlMetrics}`]);
  await until('the control plane is ready', async () => (await statusOf(`${controlUrl()}/readyz`)) === 200);
}

function startEdge(args: string[]): void {
  edge = start([
    '--mode=edge',
    `--cp-url=${controlUrl()}`,
    '--node-id=node-1',
    '--pop-id=pop-1',
    '--labels=region=oslo',
    `--data-dir=${join(directory.path, 'edge')}`,
    `--cache-dir=${join(directory.path, 'cache')}`,
    `--listen=127.0.0.1:${ports.listen}`,
    `--metrics-listen=127.0.0.1:${ports.metrics}`,
    ...args,
  ]);
}

const edgeReady = (): Promise<boolean> =>
  until('the edge is ready', async () => (await statusOf(`${metricsUrl()}/readyz`)) === 200);

async function filesUnder(path: string): Promise<string[]> {
  return readdirSync(path, { recursive: true }).map((name) => join(path, String(name)));
}

function flipByte(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 0xff;
  writeFileSync(path, bytes);
}

beforeAll(async () => {
  directory = temporaryDirectory();
  for (const name of ['control', 'listen', 'metrics', 'controlMetrics'] as const)
    ports[name] = await freePort();
  await startControl();
  token = readFileSync(join(directory.path, 'cp', 'admin-token'), 'utf8').trim();
  const { code, out, err } = await cli([
    'join-token',
    '--label',
    'region=tokyo',
    '--label',
    'latency_ms=12',
    '--json',
  ]);
  if (code !== 0) throw new Error(err);
  startEdge(['--join-token', String((JSON.parse(out) as Record<string, unknown>)['join_token'])]);
  await edgeReady();
}, 120_000);

afterAll(async () => {
  await edge.close();
  await control.close();
  directory[Symbol.dispose]();
}, WAIT_MS);

describe('An edge in a process of its own', () => {
  test('joins with a token and serves the functions whose selector matches it', async () => {
    const result = await cli([
      'deploy',
      fixture('hello/hello-c.wasm'),
      '--name',
      'hello',
      '--route',
      '/hello',
      '--selector',
      "region == 'tokyo' && latency_ms < 30",
      '--json',
    ]);
    expect(`${result.code} ${result.err}`).toStartWith('0');
    const response = await fetch(`${publicUrl()}/hello`);
    expect(await response.text()).toBe('Hello from edge!\n');
  });

  test('does not serve the functions whose selector does not match it, whatever it says of itself', async () => {
    const result = await cli([
      'deploy',
      fixture('hello/hello-c.wasm'),
      '--name',
      'others',
      '--route',
      '/others',
      '--selector',
      "region == 'oslo'",
      '--allow-empty',
      '--json',
    ]);
    expect(`${result.code} ${result.err}`).toStartWith('0');
    expect((await fetch(`${publicUrl()}/others`)).status).toBe(404);
  });

  test('refuses an artifact that was changed in the store, and reports the error', async () => {
    const create = await fetch(`${controlUrl()}/api/v1/functions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'tampered' }),
    });
    const { function: created, upload_url: uploadUrl } = (await create.json()) as {
      function: { id: string };
      upload_url: string;
    };
    const bytes = readFileSync(fixture('hello/hello-v2.wasm'));
    const put = await fetch(new URL(uploadUrl, controlUrl()), { method: 'PUT', body: bytes });
    expect(put.status).toBe(200);
    const sha256 = new Bun.CryptoHasher('sha256').update(bytes).digest('hex');
    const stored = (await filesUnder(join(directory.path, 'cp', 'artifacts'))).find((path) =>
      path.endsWith(sha256),
    );
    if (stored === undefined) throw new Error('the artifact is not in the store');
    flipByte(stored);
    const post = async (path: string, body: unknown): Promise<unknown> =>
      (
        await fetch(`${controlUrl()}/api/v1${path}`, {
          method: 'POST',
          headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
          body: JSON.stringify(body),
        })
      ).json();
    await post('/routes', { function_id: created.id, path: '/tampered' });
    const { deployment } = (await post(`/functions/${created.id}/deploy`, {})) as {
      deployment: { id: string };
    };
    const progress = await until(
      'the node reports the error',
      async () => {
        const response = await fetch(`${controlUrl()}/api/v1/deployments/${deployment.id}`, {
          headers: { authorization: `Bearer ${token}` },
        });
        const body = (await response.json()) as { nodes: { state: string; error: string | null }[] };
        return body.nodes.find((node) => node.state === 'error');
      },
      40_000,
    );
    expect(progress.error).toMatch(/sha256|digest|artifact_unavailable/);
    expect((await fetch(`${publicUrl()}/tampered`)).status).not.toBe(200);
    expect((await fetch(`${publicUrl()}/hello`)).status).toBe(200);
    expect((await cli(['undeploy', 'tampered'])).code).toBe(0);
  }, 60_000);
});

describe('An edge whose control plane has stopped', () => {
  test('keeps answering, even after its own restart', async () => {
    await control.close();
    expect((await fetch(`${publicUrl()}/hello`)).status).toBe(200);
    await edge.close();
    startEdge([]);
    await edgeReady();
    expect(await (await fetch(`${publicUrl()}/hello`)).text()).toBe('Hello from edge!\n');
  }, 60_000);

  test('does not run a cached artifact that was changed', async () => {
    await edge.close();
    for (const path of await filesUnder(join(directory.path, 'cache'))) {
      if (path.endsWith('.wasm') || path.endsWith('.bin')) flipByte(path);
    }
    startEdge([]);
    await until('the public port listens', async () => (await statusOf(`${publicUrl()}/hello`)) !== 0);
    const response = await fetch(`${publicUrl()}/hello`);
    expect(response.status).toBe(503);
    expect(['not_ready', 'artifact_unavailable']).toContain((await codeOf(response)) ?? '');
  }, 60_000);

  test('downloads the artifact again once the control plane is back', async () => {
    await startControl();
    await until('the function answers', async () => (await statusOf(`${publicUrl()}/hello`)) === 200, 90_000);
  }, 120_000);

  test(
    'exits with code 0 on SIGTERM',
    async () => {
      edge.signal('SIGTERM');
      expect(await edge.exited).toBe(0);
      control.signal('SIGTERM');
      expect(await control.exited).toBe(0);
    },
    WAIT_MS,
  );
});
