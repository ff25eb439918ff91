// The agent against a control plane that loses, repeats, reorders and forges its answers.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { createPublicKey, verify } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ERRORS, errorResponse } from '../../../src/base/errors.ts';
import { createFailpoints, type Failpoints, NO_FAILPOINTS } from '../../../src/base/failpoints/failpoints.ts';
import { systemRandom } from '../../../src/base/id.ts';
import { createLog } from '../../../src/base/log.ts';
import type { Accepted } from '../../../src/edge/sync/accept.ts';
import { type Agent, type Heartbeats, type NodeReport, openAgent } from '../../../src/edge/sync/sync.ts';
import { desiredDigest } from '../../../src/model/rules/desired.ts';
import { createFakeControl, desiredFunction, digest, type FakeControl } from '../fake_control.ts';
import { createTestClock, type TestClock, until } from '../harness.ts';

type RunningAgent = { agent: Agent; heartbeats: Heartbeats };

let dataDir = '';
let control: FakeControl;
let clock: TestClock;
let applied: Accepted[] = [];
let storedWhenApplied: string[] = [];
let results: string[] = [];
let lines: string[] = [];
let refusals: string[] = [];
let failpoints: Failpoints = NO_FAILPOINTS;
let report: NodeReport;
let agents: RunningAgent[] = [];

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'edge-agent-'));
  control = createFakeControl();
  clock = createTestClock();
  applied = [];
  storedWhenApplied = [];
  results = [];
  lines = [];
  refusals = [];
  failpoints = NO_FAILPOINTS;
  agents = [];
  report = { status: 'online', cpu_percent: 1, mem_bytes: 2, functions: [] };
});
afterEach(async () => {
  for (const { heartbeats } of agents) await turn(heartbeats.close({ graceMs: 1_000 }));
  rmSync(dataDir, { recursive: true, force: true });
});

/** Turns the clock until `promise` has settled. */
async function turn<T>(promise: Promise<T>): Promise<T> {
  let settled = false;
  const end = promise.finally(() => (settled = true));
  await until('it settled', async () => {
    await clock.advance(20);
    return settled;
  });
  return await end;
}

/** Turns the clock by `stepMs` at a time until `condition` holds; returns the milliseconds that it took. */
async function turnUntil(what: string, condition: () => boolean, stepMs = 20): Promise<number> {
  const startMs = clock.monotonicMs();
  await until(what, async () => {
    if (condition()) return true;
    await clock.advance(stepMs);
    return condition();
  });
  return clock.monotonicMs() - startMs;
}

async function start(options: { joinToken?: string | null } = {}): Promise<RunningAgent> {
  const { joinToken = 'join-1' } = options;
  const agent = await openAgent({
    config: {
      nodeId: 'n1',
      popId: 'p1',
      labels: { region: 'tokyo' },
      edgeVersion: '0.0.0',
      host: 'host-1',
      dataDir,
      cpUrl: 'http://control.test',
      joinToken: joinToken === null ? null : () => Promise.resolve(joinToken),
      heartbeatIntervalMs: 25_000,
    },
    controlFetch: (request) => control.fetch(request),
    clock,
    random: systemRandom,
    log: createLog({ clock, write: (line) => void lines.push(line) }),
    onHeartbeat: (result) => void results.push(result),
    onJoinRefused: (message) => void refusals.push(message),
    failpoints,
  });
  const heartbeats = agent.start({
    report: () => report,
    onAccepted: (accepted) => {
      applied.push(accepted);
      storedWhenApplied.push(readFileSync(join(dataDir, 'desired.state'), 'utf8'));
    },
  });
  const running = { agent, heartbeats };
  agents.push(running);
  return running;
}

const isHeld = (): boolean => control.held() === 1;

describe('A node that joins', () => {
  test('joins once, keeps its credentials private, and never logs them', async () => {
    const { heartbeats } = await start();
    await turnUntil('a heartbeat is held', isHeld);
    expect(control.joins).toEqual(['Bearer join-1']);
    expect(statSync(join(dataDir, 'node.json')).mode & 0o777).toBe(0o600);
    await turn(heartbeats.close({ graceMs: 1_000 }));
    await start({ joinToken: null });
    await turnUntil('a heartbeat is held', isHeld);
    expect(control.joins.length).toBe(1);
    expect(lines.join('')).not.toContain('node-secret');
    expect(lines.join('')).not.toContain('join-1');
  });

  test('with a refused token says so once, asks no more, and keeps no credentials', async () => {
    await start({ joinToken: 'wrong' });
    await turnUntil('it was refused', () => refusals.length === 1);
    for (let minute = 0; minute < 10; minute += 1) await clock.advance(60_000);
    expect(control.joins.length).toBe(1);
    expect(refusals).toEqual(['The join token is refused: run `edge join-token`.']);
    expect(existsSync(join(dataDir, 'node.json'))).toBe(false);
  });

  test.each([
    [
      'a field that is bad',
      () =>
        errorResponse('validation_failed', 'r', {
          details: { fields: [{ field: 'labels.a', message: 'no' }] },
        }),
      'The request has bad fields. labels.a: no.',
    ],
    [
      'an edge instead of a control plane',
      () => errorResponse('route_not_found', 'r'),
      'There is no control plane at this URL: check --cp-url.',
    ],
    ['an id that is taken', () => errorResponse('node_id_taken', 'r'), ERRORS.node_id_taken.message],
  ])('ends for %s with a sentence that says so', async (_, answer, message) => {
    control.fetch = async () => answer();
    await start();
    await turnUntil('it was refused', () => refusals.length === 1);
    expect(refusals).toEqual([message]);
  });

  test.each([
    ['an error that may pass', () => errorResponse('overloaded', 'r')],
    ['something else than an error of the table', () => new Response('<html>', { status: 404 })],
    ['no answer', () => Promise.reject(new Error('connection refused'))],
  ])('asks again after %s', async (_, answer) => {
    const { fetch: send } = control;
    control.fetch = async () => {
      control.fetch = send;
      return await answer();
    };
    await start();
    await turnUntil('a heartbeat is held', isHeld);
    expect([control.joins.length, refusals]).toEqual([1, []]);
  });

  test('proves its key, which is the same after a crash before its files were written', async () => {
    failpoints = createFailpoints('join_answered=hold', { log: createLog({ clock, write: () => {} }) });
    const first = await start();
    await turnUntil('the first join is answered', () => control.joinBodies.length === 1);
    expect(existsSync(join(dataDir, 'node.json'))).toBe(false);
    agents = agents.filter((one) => one !== first);
    failpoints = NO_FAILPOINTS;
    await start();
    await turnUntil('a heartbeat is held', isHeld);
    const [before, after] = control.joinBodies;
    expect(after?.public_key).toBe(before?.public_key ?? '');
    for (const body of [before, after]) {
      const key = createPublicKey({
        key: { kty: 'OKP', crv: 'Ed25519', x: body?.public_key ?? '' },
        format: 'jwk',
      });
      const text = Buffer.from(`edge join\njoin-1\nn1\n${body?.public_key}`);
      expect(verify(null, text, key, Buffer.from(body?.proof ?? '', 'base64url'))).toBe(true);
    }
    expect(statSync(join(dataDir, 'identity.pem')).mode & 0o777).toBe(0o600);
  });

  test('joins again where its credentials never worked, and a damaged key is replaced', async () => {
    writeFileSync(join(dataDir, 'identity.pem'), 'no key');
    const old = { node_id: 'n1', node_token: 'of a lost join', control_public_key: control.publicKey };
    const sha256 = digest(JSON.stringify([old.node_id, old.node_token, old.control_public_key]));
    writeFileSync(join(dataDir, 'node.json'), JSON.stringify({ ...old, sha256 }));
    await start();
    await turnUntil('a heartbeat is held', isHeld);
    expect(control.joins.length).toBe(1);
  });
});

test('A node follows no redirect, so that its token stays with its control plane', async () => {
  const seen: Request[] = [];
  const { fetch: send } = control;
  control.fetch = (request) => {
    seen.push(request);
    return send(request);
  };
  await start();
  await turnUntil('a heartbeat is held', isHeld);
  expect(seen.map(({ redirect }) => redirect)).toEqual(seen.map(() => 'error'));
  expect(seen.length).toBeGreaterThanOrEqual(2);
});

describe('A heartbeat', () => {
  test('reports the node, and is held until the desired state changes', async () => {
    await start();
    await turnUntil('a heartbeat is held', isHeld);
    const first = control.heartbeats[0];
    expect(first).toMatchObject({ status: 'online', labels: { region: 'tokyo' }, applied_digest: null });
    expect(control.heartbeats[1]?.applied_digest).toBe(desiredDigest({ functions: [] }));
    const count = control.heartbeats.length;
    control.deploy([desiredFunction(1, '1.0.0')]);
    await turnUntil('the state is applied', () => applied.length === 2);
    expect(applied[1]).toMatchObject({ revision: 1, desired: { functions: [{ version: '1.0.0' }] } });
    await turnUntil('the next is held', () => isHeld() && control.heartbeats.length > count);
    expect(control.heartbeats.at(-1)).toMatchObject({
      applied_revision: 1,
      applied_digest: applied[1]?.digest,
    });
  });

  test('names the process that sends it, another one after a restart', async () => {
    const { heartbeats } = await start();
    await turnUntil('a heartbeat is held', isHeld);
    await turn(heartbeats.close({ graceMs: 1_000 }));
    const first = new Set(control.heartbeats.map(({ instance }) => instance?.id));
    expect(first.size).toBe(1);
    expect(control.heartbeats[0]?.instance?.host).toBe('host-1');
    const count = control.heartbeats.length;
    await start();
    await turnUntil('a heartbeat is held', isHeld);
    expect(first.has(control.heartbeats[count]?.instance?.id)).toBe(false);
  });

  test('that is held is given up and sent anew when the observed state changes', async () => {
    const { agent } = await start();
    await turnUntil('a heartbeat is held', isHeld);
    const count = control.heartbeats.length;
    report = { ...report, mem_bytes: 77 };
    agent.notify();
    const tookMs = await turnUntil('the next is held', () => control.heartbeats.length > count && isHeld());
    expect(control.heartbeats.at(-1)?.mem_bytes).toBe(77);
    expect(tookMs).toBeLessThanOrEqual(100);
  });

  test('brings a desired state that is on disk before it is applied', async () => {
    await start();
    control.deploy([desiredFunction(1, '1.0.0')]);
    await turnUntil('the state is applied', () => applied.length === 1);
    expect(storedWhenApplied[0]).toContain('"version":"1.0.0"');
    expect(statSync(join(dataDir, 'desired.state')).mode & 0o777).toBe(0o600);
  });

  test('that is answered at once without news does not become a busy loop', async () => {
    await start();
    await turnUntil('a heartbeat is held', isHeld);
    const count = control.heartbeats.length;
    for (let i = 0; i < 20; i += 1) {
      control.release();
      await clock.advance(50);
    }
    expect(control.heartbeats.length - count).toBeLessThanOrEqual(3);
  });

  test('reports offline at the end', async () => {
    const { heartbeats } = await start();
    await turnUntil('a heartbeat is held', isHeld);
    await turn(heartbeats.close({ graceMs: 1_000 }));
    expect(control.heartbeats.at(-1)).toMatchObject({ status: 'offline', hold_ms: 0 });
  });
});

describe('An answer that cannot be trusted', () => {
  const body = (text: string, signature?: string): Response =>
    new Response(text, { headers: signature === undefined ? {} : { 'x-edge-signature': signature } });

  test('is not applied, and the next good answer is', async () => {
    control.scripted.push(
      (text) => body(text),
      (text, signature) => body(text.replace('"revision":1', '"revision":9'), signature),
      () => body('x'.repeat(100)),
    );
    control.deploy([desiredFunction(1, '1.0.0')]);
    await start();
    await turnUntil('the good one is applied', () => applied.length === 1);
    expect(results).toEqual(['refused', 'refused', 'refused', 'ok']);
    expect(applied[0]?.revision).toBe(1);
  });

  test('of a lower revision is refused', async () => {
    control.deploy([desiredFunction(1, '1.0.0')]);
    control.deploy([desiredFunction(1, '2.0.0')]);
    await start();
    await turnUntil('the state is applied', () => applied.length === 1);
    const old = control.sign({
      node_id: 'n1',
      revision: 1,
      digest: desiredDigest({ functions: [] }),
      desired: { functions: [] },
      next_heartbeat_ms: 0,
    });
    control.scripted.push(
      () => body(old.body, old.signature),
      () => body(old.body, old.signature),
    );
    control.release();
    await turnUntil('both were refused', () => results.filter((result) => result === 'refused').length === 2);
    expect(applied.length).toBe(1);
  });
});

describe('A control plane that cannot be reached', () => {
  test('is asked again after a growing wait of at most a minute', async () => {
    await start();
    await turnUntil('a heartbeat is held', isHeld);
    control.mode = 'gone';
    control.release();
    const failures = (): number => results.filter((result) => result === 'unreachable').length;
    await turnUntil('it failed eight times', () => failures() >= 8, 1_000);
    const waits = lines.map((line) => JSON.parse(line).retry_ms).filter((wait) => wait !== undefined);
    expect(Math.max(...waits)).toBeLessThanOrEqual(60_000);
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(100);
    control.mode = 'up';
    await turnUntil('it is back', isHeld, 1_000);
  });

  test('leaves a node that starts with its last desired state', async () => {
    control.deploy([desiredFunction(1, '1.0.0')]);
    const { heartbeats } = await start();
    await turnUntil('the state is applied', () => applied.length === 1);
    await turn(heartbeats.close({ graceMs: 1_000 }));
    control.mode = 'gone';
    const { agent } = await start({ joinToken: null });
    expect(agent.accepted()).toEqual(applied[0] ?? null);
  });

  test('but refuses the token is asked again, and the node keeps its desired state', async () => {
    control.deploy([desiredFunction(1, '1.0.0')]);
    const { agent } = await start();
    await turnUntil('the state is applied', () => applied.length === 1);
    control.mode = 'unauthenticated';
    agent.notify();
    await turnUntil(
      'it was refused twice',
      () => results.filter((result) => result === 'unauthenticated').length === 2,
    );
    expect(agent.accepted()).toEqual(applied[0] ?? null);
    control.mode = 'up';
    await turnUntil('it is back', isHeld);
  });

  test('because it never answers counts as unreachable', async () => {
    control.fetch = () => new Promise(() => {});
    await start();
    await turnUntil('it was given up', () => results.includes('unreachable'), 1_000);
  });
});
