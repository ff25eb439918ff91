// A control plane of the built executable that is killed, faulted, frozen and started again on the same port.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  executable,
  type Finished,
  freePort,
  isRunning,
  run,
  type Running,
  start,
  statusOf,
  until,
} from '../harness.ts';

/** How often each scenario runs: once in the short form, more where EDGE_CHAOS_ROUNDS says so. */
export const ROUNDS = Number(process.env['EDGE_CHAOS_ROUNDS'] ?? '1');

export type Reply = { status: number; text: string; json: unknown; isReplay: boolean };

export type Plane = {
  readonly url: string;
  readonly dataDir: string;
  readonly metricsUrl: string;
  /** The process that runs now. */
  running(): Running;
  token(): string;
  /** Starts it, with failpoints where some are named; resolves once it is ready. */
  open(failpoints?: string): Promise<void>;
  /** Resolves when the process has ended, then starts it without failpoints. */
  reopenAfterDeath(): Promise<void>;
  /** What `host_faults.c` is told to do; null for nothing. */
  order(line: string | null): void;
  /** One request; throws where its answer is lost. */
  send(
    method: string,
    path: string,
    options?: { key?: string; body?: unknown; token?: string },
  ): Promise<Reply>;
  cli(args: string[]): Promise<Finished>;
  close(): Promise<void>;
};

/** The control plane of a new data directory below `dir`; `args` are added to its command line. */
export async function createPlane(dir: string, args: string[] = []): Promise<Plane> {
  const ports = [await freePort(), await freePort()];
  const [url, metricsUrl] = ports.map((port) => `http://127.0.0.1:${port}`);
  if (url === undefined || metricsUrl === undefined) throw new Error('no port');
  const dataDir = join(dir, 'cp');
  const orders = join(dir, 'orders');
  const preload = buildHostFaults(dir);
  let running: Running | null = null;
  const current = (): Running => {
    if (running === null) throw new Error('the control plane was not started');
    return running;
  };
  const open = async (failpoints?: string): Promise<void> => {
    const all = ['--mode=cp', '--data-dir', dataDir, `--cp-listen=127.0.0.1:${ports[0]}`];
    const env = {
      LD_PRELOAD: preload,
      HOST_FAULTS: orders,
      ...(failpoints === undefined ? {} : { EDGE_FAILPOINTS: failpoints }),
    };
    const started = start([...all, `--metrics-listen=127.0.0.1:${ports[1]}`, ...args], { env });
    running = started;
    await until('the control plane is ready', async () => {
      if (!isRunning(started.pid)) throw new Error(`the control plane has ended: ${started.output()}`);
      return (await statusOf(`${url}/readyz`)) === 200;
    });
  };
  const token = (): string => readFileSync(join(dataDir, 'admin-token'), 'utf8').trim();
  return {
    url,
    dataDir,
    metricsUrl,
    running: current,
    token,
    open,
    async reopenAfterDeath() {
      await current().exited;
      await open();
    },
    order(line) {
      if (line === null) rmSync(orders, { force: true });
      else writeFileSync(orders, line);
    },
    send: (method, path, options = {}) =>
      send(`${url}/api/v1${path}`, method, { token: token(), ...options }),
    cli: (given) => run(given, { env: { EDGE_URL: url, EDGE_TOKEN: token() } }),
    async close() {
      if (running !== null && isRunning(running.pid)) await running.close();
    },
  };
}

async function send(
  url: string,
  method: string,
  { key, body, token }: { key?: string; body?: unknown; token: string },
): Promise<Reply> {
  const isBytes = body instanceof Uint8Array;
  const response = await fetch(url, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(key === undefined ? {} : { 'idempotency-key': key }),
      ...(body === undefined || isBytes ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: isBytes ? new Uint8Array(body) : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isReplay = response.headers.get('idempotency-replayed') === 'true';
  return { status: response.status, text, json: text === '' ? null : JSON.parse(text), isReplay };
}

/** Compiles what is preloaded, and returns its path. */
function buildHostFaults(dir: string): string {
  const library = join(dir, 'host_faults.so');
  const source = join(import.meta.dir, 'host_faults.c');
  executable();
  const flags = ['-shared', '-fPIC', '-O1', '-Wall', '-Wextra', '-Werror'];
  const cc = Bun.spawnSync([process.env['CC'] ?? 'cc', ...flags, '-o', library, source]);
  if (cc.exitCode !== 0 || !existsSync(library)) throw new Error(cc.stderr.toString());
  return library;
}

export const ENOSPC = 28;
export const EIO = 5;
