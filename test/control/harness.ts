// A control plane in a temporary directory, a manual clock, and short ways to call the API.
import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Value } from '@sinclair/typebox/value';
import { createManualClock, type ManualClock } from '../../src/base/clock.ts';
import { createFailpoints, type Failpoints } from '../../src/base/failpoints/failpoints.ts';
import { systemRandom } from '../../src/base/id.ts';
import { createLog } from '../../src/base/log.ts';
import { createMetrics, type Metrics } from '../../src/base/metrics.ts';
import { type Control, type ControlOptions, createControl } from '../../src/control/control.ts';
import {
  type HeartbeatRequest,
  JoinAnswer,
  joinProofText,
  type ObservedFunction,
} from '../../src/model/protocol.ts';
import { checkHere } from '../../src/program/roles/module_check.ts';
import type { Migration } from '../../src/store/database/database.ts';

const START_MS = Date.parse('2030-01-01T00:00:00Z');
const root = join(import.meta.dir, '..', '..');

export function sqliteMigrations(): Migration[] {
  const dir = join(root, 'migrations', 'sqlite');
  const names = readdirSync(dir).filter((name) => name.endsWith('.sql'));
  return names.map((name) => ({ name, sql: readFileSync(join(dir, name), 'utf8') }));
}

export function fixture(file: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(join(root, 'fixtures', file)));
}

export const hello = fixture('hello/hello-c.wasm');
export const helloAgain = fixture('hello/hello-v2.wasm');

/** Failpoints that a control plane is opened with. */
export function failpoints(text: string): Failpoints {
  return createFailpoints(text, { log: createLog({ clock: createManualClock(), write: () => {} }) });
}

/** `at` and `string` read the field of a dotted name in the JSON body; `code` is `error.code`. */
export type Answer = {
  status: number;
  headers: Headers;
  text: string;
  bytes: Uint8Array;
  body: unknown;
  code: unknown;
  at(field: string): unknown;
  string(field: string): string;
};
type Body = NonNullable<RequestInit['body']>;
export type CallOptions = {
  token?: string | null;
  json?: unknown;
  body?: Body;
  headers?: Record<string, string>;
  signal?: AbortSignal;
};

export type Fleet = {
  control: Control;
  dir: string;
  clock: ManualClock;
  lines: string[];
  metrics: Metrics;
  admin: string;
  /** `target` is a path with its query, or a whole URL. */
  call(method: string, target: string, options?: CallOptions): Promise<Answer>;
  /** Creates a function and returns its id and the presigned URL of its first version. */
  create(name: string, settings?: Record<string, unknown>): Promise<{ id: string; uploadUrl: string }>;
  /** Creates a function with a published 1.0.0. */
  publish(name: string, bytes?: Uint8Array<ArrayBuffer>): Promise<string>;
  joinToken(json?: Record<string, unknown>): Promise<string>;
  join(
    nodeId: string,
    options?: { labels?: Record<string, unknown>; popId?: string; joinToken?: string },
  ): Promise<JoinAnswer>;
  beat(node: JoinAnswer, heartbeat?: Partial<HeartbeatRequest>, signal?: AbortSignal): Promise<Answer>;
  reopen(options?: Partial<ControlOptions>): Promise<Fleet>;
  close(): Promise<void>;
};

export async function openFleet(
  options: Partial<ControlOptions> & { clock?: ManualClock } = {},
): Promise<Fleet> {
  const dir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'edge-control-'));
  const clock = options.clock ?? createManualClock(START_MS);
  const lines: string[] = [];
  const log = createLog({ clock, level: 'info', write: (line) => void lines.push(line) });
  const metrics = createMetrics();
  const control = await createControl({
    dataDir: dir,
    migrations: sqliteMigrations(),
    checkModule: async (bytes, options) => checkHere(bytes, options),
    productVersion: '0.0.0-test',
    random: systemRandom,
    log,
    metrics,
    ...options,
    clock,
  });
  const admin = readFileSync(join(dir, 'admin-token'), 'utf8').trim();
  // The loops have begun to wait: time that passes before that would be taken for a stop of the process.
  await new Promise((resolve) => setImmediate(resolve));
  return fleetOf({ control, dir, clock, lines, metrics, admin, options });
}

function fleetOf(
  base: Pick<Fleet, 'control' | 'dir' | 'clock' | 'lines' | 'metrics' | 'admin'> & {
    options: Partial<ControlOptions>;
  },
): Fleet {
  const { control, dir, clock, lines, metrics, admin } = base;
  const fleet: Fleet = {
    control,
    dir,
    clock,
    lines,
    metrics,
    admin,
    call: (method, target, options = {}) =>
      callControl(control, method, target, { token: admin, ...options }),
    async create(name, settings = {}) {
      const made = await fleet.call('POST', '/api/v1/functions', { json: { name, ...settings } });
      if (made.status !== 201) throw new Error(made.text);
      return { id: made.string('function.id'), uploadUrl: made.string('upload_url') };
    },
    async publish(name, bytes = hello) {
      const { id, uploadUrl } = await fleet.create(name);
      const put = await fleet.call('PUT', uploadUrl, { body: bytes, token: null });
      if (put.status !== 200) throw new Error(put.text);
      return id;
    },
    joinToken: async (json = {}) => {
      return (await fleet.call('POST', '/api/v1/nodes/join-tokens', { json })).string('join_token');
    },
    async join(nodeId, options = {}) {
      const { labels = {}, popId = 'pop-1' } = options;
      const token = options.joinToken ?? (await fleet.joinToken({ labels }));
      const about = { node_id: nodeId, pop_id: popId, labels: {}, edge_version: '0.1.0' };
      const json = signedJoin(token, about);
      const joined = await fleet.call('POST', '/api/v1/nodes/join', { token, json });
      if (joined.status !== 201) throw new Error(joined.text);
      return Value.Parse(JoinAnswer, joined.body);
    },
    beat: (node, heartbeat = {}, signal) =>
      fleet.call('POST', `/api/v1/nodes/${node.node_id}/heartbeat`, {
        token: node.node_token,
        json: heartbeatOf(heartbeat),
        ...(signal === undefined ? {} : { signal }),
      }),
    async reopen(options = {}) {
      await control.close();
      return openFleet({ ...base.options, ...options, dataDir: dir, clock });
    },
    async close() {
      await control.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  return fleet;
}

/** The key of a node. */
export type TestKey = { publicKey: string; sign(text: string): string };
export function createTestKey(): TestKey {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const { x = '' } = publicKey.export({ format: 'jwk' });
  return { publicKey: x, sign: (text) => sign(null, Buffer.from(text), privateKey).toString('base64url') };
}

/** The body of a join, signed by `key`. */
export function signedJoin<Body extends { node_id: string }>(
  joinToken: string,
  body: Body,
  key: TestKey = createTestKey(),
): Body & { public_key: string; proof: string } {
  const named = { ...body, public_key: key.publicKey };
  return { ...named, proof: key.sign(joinProofText(joinToken, named)) };
}

export function heartbeatOf(given: Partial<HeartbeatRequest>): HeartbeatRequest {
  return {
    status: 'online',
    edge_version: '0.1.0',
    cpu_percent: 1,
    mem_bytes: 1_000,
    labels: {},
    functions: [],
    applied_revision: 0,
    applied_digest: null,
    hold_ms: 0,
    ...given,
  };
}

/** What a node reports of a version. */
export function observed(
  id: string,
  version: string,
  state: ObservedFunction['state'],
  error: string | null = null,
): ObservedFunction {
  const figures = { invocation_count: 0, error_count: 0, avg_latency_ms: 0, p99_ms: 0 };
  return { id, version, state, error, execution: null, ...figures };
}

async function callControl(
  control: Control,
  method: string,
  target: string,
  options: CallOptions,
): Promise<Answer> {
  const headers = new Headers(options.headers);
  if (typeof options.token === 'string') headers.set('authorization', `Bearer ${options.token}`);
  if (options.json !== undefined && !headers.has('content-type'))
    headers.set('content-type', 'application/json');
  const body = options.json === undefined ? options.body : JSON.stringify(options.json);
  const url = target.startsWith('/') ? `http://control${target}` : target;
  const init = { method, headers, ...(body === undefined ? {} : { body }) };
  const request = new Request(url, options.signal === undefined ? init : { ...init, signal: options.signal });
  const response = await control.handle(request);
  return answerOf(response);
}

export async function answerOf(response: Response): Promise<Answer> {
  const bytes = new Uint8Array(await response.arrayBuffer());
  const text = new TextDecoder().decode(bytes);
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
  const body: unknown = isJson ? JSON.parse(text) : null;
  const at = (field: string): unknown => {
    return field.split('.').reduce<unknown>((value, key) => (isRecord(value) ? value[key] : undefined), body);
  };
  const string = (field: string): string => {
    const value = at(field);
    if (typeof value !== 'string') throw new Error(`no string at ${field}: ${response.status} ${text}`);
    return value;
  };
  return {
    status: response.status,
    headers: response.headers,
    text,
    bytes,
    body,
    code: at('error.code'),
    at,
    string,
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

/** Runs the event loop until `condition` holds; fails after 20,000 turns. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let turn = 0; turn < 20_000; turn += 1) {
    if (await condition()) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error('the condition does not hold after 20,000 turns of the event loop');
}
