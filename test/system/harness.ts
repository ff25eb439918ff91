// Starts the built executable as a user would and talks to it over HTTP, the CLI and /proc only.
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

/** Awaits a condition, looking every 10 ms; the sentence names what did not come true. */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
  withinMs = WAIT_MS,
): Promise<NonNullable<T>> {
  const end = performance.now() + withinMs;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== null && seen !== false) return seen as NonNullable<T>;
    if (performance.now() > end) throw new Error(`within ${withinMs} ms it did not come true that ${what}`);
    await Bun.sleep(10);
  }
}

/** The status of a GET, or 0 where nobody listens. */
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

/** An empty directory of this process, so that no profile of another is found. */
const workplace = (() => {
  let path: string | null = null;
  return (): string => {
    if (path !== null) return path;
    const made = mkdtempSync(join(tmpdir(), 'edge-system-'));
    process.on('exit', () => rmSync(made, { recursive: true, force: true }));
    path = made;
    return made;
  };
})();

type Place = { cwd?: string; env?: Record<string, string>; program?: string };

function spawn(args: string[], { program = executable(), cwd = workplace(), env = {} }: Place): Spawned {
  const all = { ...BASE_ENVIRONMENT(), ...env };
  return Bun.spawn([program, ...args], { cwd, env: all, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' });
}

type Spawned = Bun.Subprocess<'ignore', 'pipe', 'pipe'>;

/** Runs the executable to its end. */
export async function run(args: string[], options: Place = {}): Promise<Finished> {
  const child = spawn(args, options);
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code: await child.exited, out, err };
}

export type Running = {
  pid: number;
  /** Everything it has written so far, both streams. */
  output(): string;
  signal(name: 'SIGTERM' | 'SIGKILL' | 'SIGINT'): void;
  exited: Promise<number>;
  close(): Promise<void>;
};

/** Starts the executable and keeps it running until it is closed. */
export function start(args: string[], options: Place = {}): Running {
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

/** Direct children of a process, from /proc. */
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

/** A control plane and an edge on one machine, as `edge up` starts them. */
export type Up = Running & {
  dataDir: string;
  publicUrl: string;
  controlUrl: string;
  metricsUrl: string;
  token: string;
  /** The engine process of the edge. */
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
  return adopt(running, { dataDir, listen, control, metrics });
}

async function adopt(
  running: Running,
  at: { dataDir: string; listen: number; control: number; metrics: number },
): Promise<Up> {
  const controlUrl = `http://127.0.0.1:${at.control}`;
  const metricsUrl = `http://127.0.0.1:${at.metrics}`;
  try {
    await until('the control plane and the edge are ready', async () => {
      if (!isRunning(running.pid)) throw new Error(`it ended: ${running.output()}`);
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

/** Deploys and fails with the CLI's own words when that did not work; answers what `--json` printed. */
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

/** Create, upload, route and deploy over the API, then await the node's word on it. */
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
    const seen = (json as { nodes: Published['nodes'] }).nodes;
    return seen.length > 0 && seen.every(({ state }) => state === 'cached' || state === 'error')
      ? seen
      : null;
  });
  return { ok: true, functionId: edgeFunction.id, nodes };
}
