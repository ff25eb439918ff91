// Measures every bound on speed and size in one run of the built executable.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Running,
  type Up,
  childrenOf,
  deployed,
  fixture,
  freePort,
  isRunning,
  start,
  startUp,
  statusOf,
  temporaryDirectory,
  until,
} from '../system/harness.ts';
import { openFiles, pssMb, rssMb } from './proc.ts';
import { type Load, load, percentile } from './wrk.ts';

const CONNECTIONS = 32;
/** Seconds of load on each server in all. The servers take turns in rounds: other programs disturb some. */
const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 9);
const ROUNDS = 3;
const SETTLE_MS = 6_000;
/** Without these the quota of the project would end the load. */
const NO_QUOTA = ['--invocations-per-minute', '1000000000'];
const rows: { what: string; measured: string; wanted: string; holds: boolean }[] = [];

function atMost(what: string, value: number, bound: number, unit: string): void {
  rows.push({
    what,
    measured: `${value.toFixed(2)} ${unit}`,
    wanted: `<= ${bound} ${unit}`,
    holds: value <= bound,
  });
}

function atLeast(what: string, value: number, bound: number): void {
  rows.push({ what, measured: value.toFixed(3), wanted: `>= ${bound}`, holds: value >= bound });
}

/** The memory of a process some time after its work, in MB; prints that right after it as well. */
async function settledMb(name: string, pid: number): Promise<number> {
  const before = rssMb(pid);
  await Bun.sleep(SETTLE_MS);
  const settled = rssMb(pid);
  process.stdout.write(`RSS of ${name}: ${before.toFixed(0)} MB at once, ${settled.toFixed(0)} MB settled\n`);
  return settled;
}

/** Starts the build once, so that no measured start has to unpack the libraries. */
async function unpackOnce(): Promise<void> {
  using directory = temporaryDirectory();
  await (await startUp(directory.path)).close();
}

async function startTimes(): Promise<void> {
  using directory = temporaryDirectory();
  const [control, listen, metrics, controlMetrics] = await Promise.all([
    freePort(),
    freePort(),
    freePort(),
    freePort(),
  ]);
  const dataDir = join(directory.path, 'cp');
  const cpArgs = ['--mode=cp', '--data-dir', dataDir, '--cp-listen', `127.0.0.1:${control}`];
  let begun = performance.now();
  const cp = start([...cpArgs, '--metrics-listen', `127.0.0.1:${controlMetrics}`]);
  const running: Running[] = [cp];
  try {
    await until(
      'the control plane is ready',
      async () => (await statusOf(`http://127.0.0.1:${control}/readyz`)) === 200,
    );
    atMost('control plane ready', performance.now() - begun, 500, 'ms');
    const token = readFileSync(join(dataDir, 'admin-token'), 'utf8').trim();
    const join_ = await fetch(`http://127.0.0.1:${control}/api/v1/nodes/join-tokens`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: '{}',
    });
    const { join_token: joinToken } = (await join_.json()) as { join_token: string };
    begun = performance.now();
    const edge = start([
      '--mode=edge',
      `--cp-url=http://127.0.0.1:${control}`,
      `--join-token=${joinToken}`,
      `--data-dir=${join(directory.path, 'edge')}`,
      `--listen=127.0.0.1:${listen}`,
      `--metrics-listen=127.0.0.1:${metrics}`,
      ...NO_QUOTA,
    ]);
    running.push(edge);
    await until(
      'the edge is ready',
      async () => (await statusOf(`http://127.0.0.1:${metrics}/readyz`)) === 200,
    );
    atMost('edge ready', performance.now() - begun, 1_000, 'ms');
    const env = { token, controlUrl: `http://127.0.0.1:${control}` };
    await registerAndWait(env, `http://127.0.0.1:${listen}`, 'first', fixture('hello/hello-c.wasm'));
    await load(`http://127.0.0.1:${listen}/first`, { connections: CONNECTIONS, seconds: 3 });
    atMost('control plane memory (RSS)', await settledMb('the control plane', cp.pid), 120, 'MB');
    atMost('edge memory after load (RSS)', await settledMb('the edge', edge.pid), 120, 'MB');
  } finally {
    for (const each of running.toReversed()) await each.close();
  }
}

/** Creates, uploads, routes and deploys over the API; the milliseconds until the first 200 of the edge. */
async function registerAndWait(
  control: { token: string; controlUrl: string },
  publicUrl: string,
  name: string,
  file: string,
): Promise<number> {
  const call = async (path: string, body: unknown): Promise<Record<string, unknown>> => {
    const response = await fetch(`${control.controlUrl}/api/v1${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${control.token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(await response.text());
    return (await response.json()) as Record<string, unknown>;
  };
  const bytes = readFileSync(file);
  const begun = performance.now();
  const created = await call('/functions', { name });
  const id = (created['function'] as { id: string }).id;
  const put = await fetch(new URL(String(created['upload_url']), control.controlUrl), {
    method: 'PUT',
    body: bytes,
  });
  if (!put.ok) throw new Error(await put.text());
  await call('/routes', { function_id: id, path: `/${name}` });
  await call(`/functions/${id}/deploy`, {});
  while ((await statusOf(`${publicUrl}/${name}`)) !== 200) {
    if (performance.now() - begun > 20_000) throw new Error('the deployment never answered');
    await Bun.sleep(1);
  }
  return performance.now() - begun;
}

async function deployTimes(up: Up): Promise<void> {
  const times: number[] = [];
  for (let i = 0; i < 10; i += 1) {
    times.push(await registerAndWait(up, up.publicUrl, `deploy-${i}`, fixture('hello/hello-c.wasm')));
  }
  atMost('deploy to first 200, slowest of 10', Math.max(...times), 300, 'ms');
}

const rateOf = ({ requestsPerSecond }: Load): number => requestsPerSecond;
const p99Of = ({ p99Ms }: Load): number => p99Ms;
const medianOf = (loads: readonly Load[], figure: (one: Load) => number): number =>
  percentile(loads.map(figure), 0.5);

function printLoads(name: string, loads: readonly Load[]): void {
  const each = loads.map(
    (one) => `${rateOf(one).toFixed(0)}/s p50 ${one.p50Ms.toFixed(2)} p99 ${p99Of(one).toFixed(2)} ms`,
  );
  process.stdout.write(`${name.padEnd(6)} ${each.join('; ')}\n`);
}

async function throughput(up: Up): Promise<void> {
  const bare = Bun.spawn([process.execPath, join(import.meta.dir, 'bare.ts')], { stdout: 'pipe' });
  const reader = bare.stdout.getReader();
  const port = Number(new TextDecoder().decode((await reader.read()).value));
  try {
    await deployed(up, fixture('hello/hello-c.wasm'), [
      '--name',
      'hot',
      '--route',
      '/hot',
      '--isolation',
      'reuse',
    ]);
    await deployed(up, fixture('hello/hello-c.wasm'), ['--name', 'fresh', '--route', '/fresh']);
    const [bareUrl, hotUrl, freshUrl] = [
      `http://127.0.0.1:${port}/`,
      `${up.publicUrl}/hot`,
      `${up.publicUrl}/fresh`,
    ];
    const options = { connections: CONNECTIONS, seconds: Math.ceil(SECONDS / ROUNDS) };
    for (const url of [bareUrl, hotUrl, freshUrl]) await load(url, { ...options, seconds: 2 });
    const bares: Load[] = [await load(bareUrl, options)];
    const [hots, freshes]: [Load[], Load[]] = [[], []];
    for (let round = 0; round < ROUNDS; round += 1) {
      hots.push(await load(hotUrl, options));
      freshes.push(await load(freshUrl, options));
      bares.push(await load(bareUrl, options));
    }
    printLoads('bare', bares);
    printLoads('reuse', hots);
    printLoads('clean', freshes);
    const [bareRate, bareP99] = [medianOf(bares, rateOf), medianOf(bares, p99Of)];
    atLeast('reuse against a bare Bun.serve', medianOf(hots, rateOf) / bareRate, 0.35);
    atMost('p99 of reuse against its p99', medianOf(hots, p99Of) / bareP99, 4, 'times');
    atLeast('fresh instance per request against it', medianOf(freshes, rateOf) / bareRate, 0.12);
    const failed = [...hots, ...freshes].reduce((sum, one) => sum + one.failed, 0);
    atMost('failed requests under load', failed, 0, 'requests');
  } finally {
    bare.kill();
    await bare.exited;
  }
}

async function timeouts(up: Up): Promise<void> {
  const args = ['--name', 'late', '--route', '/late', '--max-execution-ms', '100'];
  await deployed(up, fixture('hostile/loop-forever.wasm'), args);
  const over: number[] = [];
  for (let i = 0; i < 100; i += 1) {
    const begun = performance.now();
    const response = await fetch(`${up.publicUrl}/late`);
    await response.arrayBuffer();
    if (response.status !== 504) throw new Error(`expected 504, got ${response.status}`);
    over.push(performance.now() - begun - 100);
  }
  atMost('timeout answer beyond max_execution_ms, p99', percentile(over, 0.99), 50, 'ms');
}

async function coldStarts(): Promise<void> {
  using directory = temporaryDirectory();
  const up = await startUp(directory.path, { args: ['--pool-workers-min', '0', '--worker-idle-ms', '20'] });
  try {
    await deployed(up, fixture('hello/hello-c.wasm'), ['--name', 'cold', '--route', '/cold']);
    const zygote = await up.zygote();
    const times: number[] = [];
    for (let i = 0; i < 100; i += 1) {
      await until('no worker runs', () => childrenOf(zygote).length === 0);
      const begun = performance.now();
      const response = await fetch(`${up.publicUrl}/cold`);
      await response.arrayBuffer();
      if (response.status !== 200) throw new Error(`cold start answered ${response.status}`);
      times.push(performance.now() - begun);
    }
    process.stdout.write(`cold start p50 ${percentile(times, 0.5).toFixed(2)} ms\n`);
    atMost('cold start, p99', percentile(times, 0.99), 20, 'ms');
  } finally {
    await up.close();
  }
}

async function idleWorkers(): Promise<void> {
  using directory = temporaryDirectory();
  const up = await startUp(directory.path);
  try {
    for (let i = 0; i < 4; i += 1) {
      await deployed(up, fixture('hello/hello-c.wasm'), ['--name', `idle-${i}`, '--route', `/idle-${i}`]);
      await fetch(`${up.publicUrl}/idle-${i}`);
    }
    const workers = childrenOf(await up.zygote());
    if (workers.length !== 4) throw new Error(`expected four workers, found ${workers.length}`);
    atMost('idle worker (PSS, largest of four)', Math.max(...workers.map(pssMb)), 4, 'MB');
  } finally {
    await up.close();
  }
}

/** Hostile guests, alternately one that the upload refuses and one that it accepts. */
function hostileGuests(count: number): string[] {
  type Guest = { file: string; upload: string };
  const all = JSON.parse(readFileSync(fixture('manifest.json'), 'utf8')) as Guest[];
  const files = (isAccepted: boolean): string[] => {
    const some = all.filter(
      ({ file, upload }) => file.startsWith('hostile/') && (upload === 'accepted') === isAccepted,
    );
    return [...new Set(some.map(({ file }) => file))].filter((file) => !file.includes('/start-'));
  };
  const kinds = [files(false), files(true)];
  return Array.from({ length: count }, (_, i) => {
    const kind = kinds[i % 2] ?? [];
    return kind[Math.floor(i / 2) % kind.length] ?? '';
  });
}

async function hostileRound(up: Up, round: number): Promise<number> {
  const paths: string[] = [];
  for (const [i, file] of hostileGuests(100).entries()) {
    const name = `hostile-${round}-${i}`;
    const args = ['--name', name, '--route', `/${name}/*`, '--max-execution-ms', '50', '--wait-secs', '5'];
    if ((await up.deploy(fixture(file), args)).code === 0) paths.push(`/${name}/x`);
  }
  for (let i = 0; i < 1_000; i += 1) await statusOf(`${up.publicUrl}${paths[i % paths.length]}`);
  for (const path of paths) await up.cli(['undeploy', path.split('/')[1] ?? '']);
  return paths.length;
}

/** The number of functions that have workers, and the number of workers of the edge. */
async function poolsOf(up: Up): Promise<{ functions: number; workers: number }> {
  const text = await (await fetch(`${up.metricsUrl}/metrics`)).text();
  const workers = Number(/^wasm_engine_workers (\d+)/m.exec(text)?.[1]);
  return { functions: text.match(/^wasm_pool_workers\{/gm)?.length ?? 0, workers };
}

async function hostile(up: Up): Promise<void> {
  const zygote = await up.zygote();
  const before = {
    files: openFiles(up.pid),
    zygoteFiles: openFiles(zygote),
    functions: (await poolsOf(up)).functions,
  };
  let errors = 0;
  let running = true;
  const neighbour = (async () => {
    while (running) {
      if ((await statusOf(`${up.publicUrl}/hot`)) !== 200) errors += 1;
      await Bun.sleep(2);
    }
  })();
  const ran = await hostileRound(up, 1);
  const first = await settledMb('`up` after 100 hostile deployments and 1,000 requests', up.pid);
  await hostileRound(up, 2);
  running = false;
  await neighbour;
  process.stdout.write(`hostile: ${ran} of 100 deployments ran\n`);
  const same = isRunning(up.pid) && (await up.zygote()) === zygote;
  atMost('processes replaced by hostile guests', same ? 0 : 1, 0, 'processes');
  atMost('errors of the neighbour', errors, 0, 'errors');
  await until('the workers of hostile functions are gone', async () => {
    const { functions, workers } = await poolsOf(up);
    return functions <= before.functions && childrenOf(zygote).length === workers;
  });
  const second = await settledMb('`up` after as much again', up.pid);
  atMost('memory that a second hostile round adds', second - first, 16, 'MB');
  atMost('control plane and edge in one process (RSS)', second, 120, 'MB');
  atMost('descriptors left behind in the engine', openFiles(zygote) - before.zygoteFiles, 0, 'files');
  atMost('descriptors left behind in the edge', openFiles(up.pid) - before.files, 4, 'files');
}

await unpackOnce();
await startTimes();
{
  using directory = temporaryDirectory();
  const up = await startUp(directory.path, { args: NO_QUOTA });
  try {
    await deployTimes(up);
    await throughput(up);
    await timeouts(up);
    await hostile(up);
  } finally {
    await up.close();
  }
}
await coldStarts();
await idleWorkers();
for (const { what, measured, wanted, holds } of rows) {
  process.stdout.write(
    `${holds ? 'holds ' : 'FAILS '} ${what.padEnd(48)} ${measured.padStart(16)}  ${wanted}\n`,
  );
}
process.exitCode = rows.every(({ holds }) => holds) ? 0 : 1;
