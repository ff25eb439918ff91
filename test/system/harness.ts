// Starts the built executable as a user would and talks to it only over HTTP, the CLI and /proc.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dir, '../..');
const EXECUTABLE = join(ROOT, 'dist/edge');
export const WAIT_MS = 20_000;

export function executable(): string {
  if (!existsSync(EXECUTABLE)) throw new Error('dist/edge is missing: run `bun build.ts` first');
  return EXECUTABLE;
}

export function fixture(name: string): string {
  return join(ROOT, 'fixtures', name);
}

export type Directory = { path: string; [Symbol.dispose](): void };

export function temporaryDirectory(): Directory {
  const path = mkdtempSync(join(tmpdir(), 'edge-system-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Calls `check` every 10 ms until it returns a value; fails with `what` after `withinMs`. */
export async function until<T>(
  what: string,
  check: () => T | Promise<T>,
  withinMs = WAIT_MS,
): Promise<NonNullable<T>> {
  const end = performance.now() + withinMs;
  for (;;) {
    const value = await check();
    if (value !== undefined && value !== null && value !== false) return value as NonNullable<T>;
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await Bun.sleep(10);
  }
}

/** The status of a GET; 0 where nothing listens. */
export async function statusOf(url: string): Promise<number> {
  try {
    const response = await fetch(url);
    await response.arrayBuffer();
    return response.status;
  } catch {
    return 0;
  }
}

export type Finished = { code: number; out: string; err: string };

const BASE_ENVIRONMENT = (): Record<string, string> => ({
  PATH: process.env['PATH'] ?? '/usr/bin:/bin',
  HOME: process.env['HOME'] ?? '/tmp',
  ...(process.env['XDG_CACHE_HOME'] === undefined ? {} : { XDG_CACHE_HOME: process.env['XDG_CACHE_HOME'] }),
});

/** An empty directory for this process, so that the CLI finds no profile. */
const emptyDirectory = (() => {
  let path: string | null = null;
  return (): string => {
    if (path !== null) return path;
    const made = mkdtempSync(join(tmpdir(), 'edge-system-'));
    process.on('exit', () => rmSync(made, { recursive: true, force: true }));
    path = made;
    return made;
  };
})();

type SpawnOptions = { cwd?: string; env?: Record<string, string>; program?: string };

function spawn(args: string[], options: SpawnOptions): Spawned {
  const { program = executable(), cwd = emptyDirectory(), env = {} } = options;
  const all = { ...BASE_ENVIRONMENT(), ...env };
  return Bun.spawn([program, ...args], { cwd, env: all, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' });
}

type Spawned = Bun.Subprocess<'ignore', 'pipe', 'pipe'>;

/** Runs the executable to its end. */
export async function run(args: string[], options: SpawnOptions = {}): Promise<Finished> {
  const child = spawn(args, options);
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code: await child.exited, out, err };
}

export type Running = {
  pid: number;
  /** The last million characters that it wrote to both streams. */
  output(): string;
  signal(name: 'SIGTERM' | 'SIGKILL' | 'SIGINT'): void;
  exited: Promise<number>;
  close(): Promise<void>;
};

/** Starts the executable; `close` sends SIGTERM, and SIGKILL when that takes too long. */
export function start(args: string[], options: SpawnOptions = {}): Running {
  const child = spawn(args, options);
  let written = '';
  const collect = async (stream: ReadableStream<Uint8Array>): Promise<void> => {
    const decoder = new TextDecoder();
    for await (const chunk of stream)
      written = (written + decoder.decode(chunk, { stream: true })).slice(-1_000_000);
  };
  void collect(child.stdout);
  void collect(child.stderr);
  return {
    pid: child.pid,
    output: () => written,
    signal: (name) => child.kill(name),
    exited: child.exited,
    async close() {
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), WAIT_MS);
      await child.exited;
      clearTimeout(late);
    },
  };
}

/** The direct children of a process that have not ended. */
export function childrenOf(pid: number): number[] {
  const children: number[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (Number(parent) === pid && state !== 'Z') children.push(Number(entry));
    } catch {
      continue;
    }
  }
  return children;
}

export function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z';
  } catch {
    return false;
  }
}

/** A running `edge up`. */
export type Up = Running & {
  dataDir: string;
  publicUrl: string;
  controlUrl: string;
  metricsUrl: string;
  token: string;
  /** The pid of the engine process. */
  zygote(): Promise<number>;
  deploy(file: string, args: string[]): Promise<Finished>;
  cli(args: string[]): Promise<Finished>;
  api(method: string, path: string, body?: unknown): Promise<{ status: number; json: unknown }>;
};

export async function startUp(
  dataDir: string,
  options: { args?: string[]; program?: string; env?: Record<string, string> } = {},
): Promise<Up> {
  const [listen, control, metrics] = [await freePort(), await freePort(), await freePort()];
  const args = ['up', '--data-dir', dataDir, '--listen', `127.0.0.1:${listen}`, '--cp-listen'];
  args.push(`127.0.0.1:${control}`, '--metrics-listen', `127.0.0.1:${metrics}`, ...(options.args ?? []));
  const running = start(args, options);
  return whenReady(running, { dataDir, listen, control, metrics });
}

async function whenReady(
  running: Running,
  at: { dataDir: string; listen: number; control: number; metrics: number },
): Promise<Up> {
  const controlUrl = `http://127.0.0.1:${at.control}`;
  const metricsUrl = `http://127.0.0.1:${at.metrics}`;
  try {
    await until('the control plane and the edge are ready', async () => {
      if (!isRunning(running.pid)) throw new Error(`edge up has ended: ${running.output()}`);
      return (
        (await statusOf(`${controlUrl}/readyz`)) === 200 && (await statusOf(`${metricsUrl}/readyz`)) === 200
      );
    });
  } catch (failure) {
    const output = running.output();
    await running.close();
    throw new Error(`${String(failure)}\n${output.slice(-4_000)}`, { cause: failure });
  }
  const token = readFileSync(join(at.dataDir, 'admin-token'), 'utf8').trim();
  const cli = (args: string[]): Promise<Finished> =>
    run(args, { env: { EDGE_URL: controlUrl, EDGE_TOKEN: token } });
  return {
    ...running,
    dataDir: at.dataDir,
    publicUrl: `http://127.0.0.1:${at.listen}`,
    controlUrl,
    metricsUrl,
    token,
    zygote: () => until('the engine process runs', () => childrenOf(running.pid)[0]),
    cli,
    deploy: (file, args) => cli(['deploy', file, ...args]),
    async api(method, path, body) {
      const response = await fetch(`${controlUrl}/api/v1${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return { status: response.status, json: await response.json() };
    },
  };
}

/** Runs `edge deploy --json` and returns what it printed; throws what it wrote when it fails. */
export async function deployed(up: Up, file: string, args: string[]): Promise<Record<string, unknown>> {
  const { code, out, err } = await up.deploy(file, [...args, '--json']);
  if (code !== 0) throw new Error(`deploy ended with ${code}: ${err}${out}`);
  return JSON.parse(out) as Record<string, unknown>;
}

export async function codeOf(response: Response): Promise<string | undefined> {
  const body = (await response.json()) as { error?: { code?: string } };
  return body.error?.code;
}

export type Published = { ok: true; functionId: string; nodes: { state: string; error: string | null }[] };
export type Refused = { ok: false; status: number; code: string };

/** Creates, uploads, routes and deploys over the API, then waits for the report of the node. */
export async function publish(
  up: Up,
  bytes: Uint8Array,
  options: { name: string; host: string; settings?: Record<string, unknown> },
): Promise<Published | Refused> {
  const created = await up.api('POST', '/functions', { name: options.name, ...options.settings });
  if (created.status !== 201) throw new Error(JSON.stringify(created.json));
  const { function: edgeFunction, upload_url: uploadUrl } = created.json as {
    function: { id: string };
    upload_url: string;
  };
  const put = await fetch(new URL(uploadUrl, up.controlUrl), { method: 'PUT', body: bytes });
  if (!put.ok) return { ok: false, status: put.status, code: (await codeOf(put)) ?? 'none' };
  await put.arrayBuffer();
  await up.api('POST', '/routes', { function_id: edgeFunction.id, host: options.host, path: '/*' });
  const made = await up.api('POST', `/functions/${edgeFunction.id}/deploy`, {});
  const { deployment } = made.json as { deployment: { id: string } };
  const nodes = await until('the node has reported the version', async () => {
    const { json } = await up.api('GET', `/deployments/${deployment.id}?wait_ms=1000`);
    const reported = (json as { nodes: Published['nodes'] }).nodes;
    const isComplete = reported.every(({ state }) => ['cached', 'error', 'failed'].includes(state));
    return reported.length > 0 && isComplete ? reported : null;
  });
  return { ok: true, functionId: edgeFunction.id, nodes };
}
