// A node and a control plane that do not agree: what the node says, what it keeps, and what ends it.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NO_FAILPOINTS } from '../../../src/base/failpoints/failpoints.ts';
import { systemRandom } from '../../../src/base/id.ts';
import { SYNC_TUNING } from '../../../src/base/limits/sync.ts';
import { createLog } from '../../../src/base/log.ts';
import type { Accepted } from '../../../src/edge/sync/accept.ts';
import { type Agent, type Heartbeats, openAgent } from '../../../src/edge/sync/sync.ts';
import type { HeartbeatRequest } from '../../../src/model/protocol.ts';
import { createFakeControl, desiredFunction, digest, type FakeControl } from '../fake_control.ts';
import { createTestClock, type TestClock, until } from '../harness.ts';

const [A, B] = ['a', 'b'].map((letter) => `ep_${letter.repeat(26)}`) as [string, string];
const DAY_MS = 86_400_000;

let dataDir = '';
let control: FakeControl;
let clock: TestClock;
let lines: string[];
let applied: Accepted[];
let agents: Heartbeats[];

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'edge-agent-'));
  control = createFakeControl();
  control.more = { epoch: A };
  clock = createTestClock();
  lines = [];
  applied = [];
  agents = [];
});
afterEach(async () => {
  for (const one of agents) await closed(one);
  rmSync(dataDir, { recursive: true, force: true });
});

async function start(joinToken: string | null = 'join-1'): Promise<{ agent: Agent; heartbeats: Heartbeats }> {
  const agent = await openAgent({
    config: {
      nodeId: 'n1',
      popId: 'p1',
      labels: {},
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
    onHeartbeat: () => {},
    onJoinRefused: () => {},
    failpoints: NO_FAILPOINTS,
  });
  const heartbeats = agent.start({
    report: () => ({ status: 'online', cpu_percent: 1, mem_bytes: 2, functions: [] }),
    onAccepted: (accepted) => void applied.push(accepted),
  });
  agents.push(heartbeats);
  return { agent, heartbeats };
}

async function turnUntil(what: string, condition: () => boolean, stepMs = 20): Promise<void> {
  await until(what, async () => {
    if (!condition()) await clock.advance(stepMs);
    return condition();
  });
}

async function closed(heartbeats: Heartbeats): Promise<void> {
  let isClosed = false;
  agents = agents.filter((one) => one !== heartbeats);
  void heartbeats.close({ graceMs: 1_000 }).then(() => (isClosed = true));
  await turnUntil('it is closed', () => isClosed);
}

const last = (): HeartbeatRequest | undefined => control.heartbeats.at(-1);
const versionOf = (accepted: Accepted | null | undefined): string | undefined =>
  accepted?.desired.functions[0]?.version;

async function joined(): Promise<{ agent: Agent; heartbeats: Heartbeats }> {
  const running = await start();
  await turnUntil('it has its state', () => applied.length === 1 && control.held() === 1);
  return running;
}

/** A node that has 2.0.0 in revision 2 of epoch A; its control plane then has 1.0.0 in revision 1 of B. */
async function diverged(): Promise<{ agent: Agent; heartbeats: Heartbeats }> {
  control.deploy([desiredFunction(1, '1.0.0')]);
  control.deploy([desiredFunction(1, '2.0.0')]);
  const running = await joined();
  control.more = { epoch: B };
  control.revision = 0;
  control.deploy([desiredFunction(1, '1.0.0')]);
  await turnUntil('it says that it refuses', () => last()?.refusal !== undefined);
  return running;
}

const told = (): object => {
  const { applied_epoch: epoch, applied_revision: revision, refusal } = last() ?? {};
  return { epoch: B, rebase: { epoch, revision, nonce: refusal?.nonce } };
};

describe('A node that refuses what it is sent', () => {
  test('says so with what it has, keeps that, and logs once what to do', async () => {
    const { agent } = await diverged();
    const count = control.heartbeats.length;
    await turnUntil('it has refused some more', () => control.heartbeats.length > count + 3);
    expect(last()).toMatchObject({
      applied_epoch: A,
      applied_revision: 2,
      refusal: { reason: 'other_epoch', epoch: B, revision: 1 },
    });
    expect(last()?.refusal?.nonce).toMatch(/^[\w-]{22}$/);
    expect([versionOf(agent.accepted()), agent.isDiverged()]).toEqual(['2.0.0', true]);
    expect(lines.filter((line) => line.includes('edge node rebase n1'))).toHaveLength(1);
  });

  test('asks again once a second at most, whatever jumps the clock makes', async () => {
    await diverged();
    const count = control.heartbeats.length;
    for (let second = 0; second < 10; second += 1) {
      clock.jump(second % 2 === 0 ? DAY_MS : -DAY_MS);
      await clock.advance(1_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const sent = control.heartbeats.length - count;
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThanOrEqual(11);
  });

  test('takes what an operator tells it to, keeps it over a restart, and agrees again', async () => {
    const { agent, heartbeats } = await diverged();
    control.more = told();
    await turnUntil('it has taken it', () => applied.length === 2 && control.held() === 1);
    expect(applied[1]).toMatchObject({
      epoch: B,
      revision: 1,
      desired: { functions: [{ version: '1.0.0' }] },
    });
    expect(last()).toMatchObject({ applied_epoch: B, applied_revision: 1 });
    expect([last()?.refusal, agent.isDiverged()]).toEqual([undefined, false]);
    await closed(heartbeats);
    control.mode = 'gone';
    expect((await start(null)).agent.accepted()).toMatchObject({ epoch: B, revision: 1 });
  });

  test('is not taken back by the same statement again, nor by one made before its restart', async () => {
    const { heartbeats } = await diverged();
    const statement = told();
    await closed(heartbeats);
    control.more = statement;
    control.heartbeats.length = 0;
    const second = await start(null);
    await turnUntil('it refuses again', () => last()?.refusal !== undefined);
    expect(versionOf(second.agent.accepted())).toBe('2.0.0');
    control.more = told();
    await turnUntil('it has taken it', () => versionOf(second.agent.accepted()) === '1.0.0');
    control.more = { epoch: B };
    control.deploy([desiredFunction(1, '3.0.0')]);
    await turnUntil('it went on', () => versionOf(second.agent.accepted()) === '3.0.0');
    control.more = statement;
    control.revision = 0;
    control.deploy([desiredFunction(1, '1.0.0')]);
    await turnUntil('it refuses', () => last()?.refusal !== undefined);
    expect(versionOf(second.agent.accepted())).toBe('3.0.0');
    expect(last()?.refusal?.reason).toBe('revision_below');
  });
});

describe('A node that was moved to another control plane', () => {
  let old: FakeControl;
  let next: FakeControl;
  beforeEach(async () => {
    old = control;
    next = createFakeControl('n1', { joinToken: 'join-2', nodeToken: 'another-secret' });
    old.deploy([desiredFunction(1, '1.0.0')]);
    old.deploy([desiredFunction(1, '2.0.0')]);
    await closed((await joined()).heartbeats);
    next.more = { epoch: B };
    next.deploy([desiredFunction(1, '0.1.0')]);
    control = next;
  });

  test('keeps serving without a token, and says what to do', async () => {
    const { agent } = await start(null);
    await turnUntil('it is refused', () => agent.isDiverged(), 1_000);
    expect(versionOf(agent.accepted())).toBe('2.0.0');
    expect(lines.join('')).toContain('edge join-token --node n1');
    expect(next.joins).toEqual([]);
  });

  test('joins with a token of it, and takes what it says, of whatever revision and epoch', async () => {
    const { agent } = await start('join-2');
    await turnUntil('it has taken it', () => versionOf(agent.accepted()) === '0.1.0', 1_000);
    expect([next.joins.length, old.joins.length, agent.isDiverged()]).toEqual([1, 1, false]);
    const credentials = JSON.parse(readFileSync(join(dataDir, 'node.json'), 'utf8')) as object;
    expect(credentials).toMatchObject({
      control_public_key: next.publicKey,
      former_public_key: old.publicKey,
      join_token_sha256: digest('join-2'),
    });
    expect(lines.join('')).not.toContain('another-secret');
  });

  test('serves what it had when it starts between joining and the first answer', async () => {
    const { fetch: send } = next;
    next.fetch = (request) =>
      request.url.includes('heartbeat') && request.headers.get('authorization') === 'Bearer another-secret'
        ? Promise.reject(new Error('connection lost'))
        : send(request);
    const first = await start('join-2');
    await turnUntil('it has joined', () => next.joins.length === 1, 1_000);
    await turnUntil('it has stored that', () => lines.join('').includes('joined the control plane'));
    await closed(first.heartbeats);
    const { agent } = await start(null);
    expect(versionOf(agent.accepted())).toBe('2.0.0');
    next.fetch = send;
    await turnUntil('it has taken it', () => versionOf(agent.accepted()) === '0.1.0', 1_000);
  });

  test('does not join with the token that it joined with before', async () => {
    next.fetch = async () => new Response('{}', { status: 401 });
    const asked: string[] = [];
    const { fetch: refuse } = next;
    next.fetch = (request) => {
      asked.push(new URL(request.url).pathname);
      return refuse(request);
    };
    await start('join-1');
    await turnUntil('it was refused often', () => asked.length > 3 * SYNC_TUNING.joinAgainRefusals, 10_000);
    expect(asked.filter((path) => path.endsWith('/join'))).toEqual([]);
  });

  test('stays with its own where that answers after all', async () => {
    let refusals = SYNC_TUNING.joinAgainRefusals - 1;
    const asked: string[] = [];
    old.fetch = ((send) => async (request: Request) => {
      asked.push(new URL(request.url).pathname);
      if (refusals === 0) return await send(request);
      refusals -= 1;
      return new Response('{}', { status: 401 });
    })(old.fetch);
    control = old;
    const { agent } = await start('join-2');
    await turnUntil('it is answered, and then held', () => !agent.isDiverged() && old.held() === 1, 1_000);
    expect(asked.filter((path) => path.endsWith('/join'))).toEqual([]);
  });

  test('whose token is refused there tries its own again', async () => {
    const { agent } = await start('wrong');
    await turnUntil('the join was refused', () => next.joins.length > 0, 1_000);
    control = old;
    await turnUntil('it is answered, and then held', () => !agent.isDiverged() && old.held() === 1, 10_000);
    expect(versionOf(agent.accepted())).toBe('2.0.0');
  });
});

test('A node whose control plane has another key joins again, and not for one forged answer', async () => {
  control.deploy([desiredFunction(1, '2.0.0')]);
  await closed((await joined()).heartbeats);
  const { agent, heartbeats } = await start('join-2');
  await turnUntil('a heartbeat is held', () => control.held() === 1);
  control.scripted.push((body) => new Response(body, { headers: { 'x-edge-signature': 'A'.repeat(86) } }));
  control.deploy([desiredFunction(1, '2.0.1')]);
  await turnUntil('it has the next', () => versionOf(agent.accepted()) === '2.0.1', 100);
  expect(control.heartbeats.some(({ refusal }) => refusal?.reason === 'signature_invalid')).toBe(true);
  expect(control.joins.length).toBe(1);
  await closed(heartbeats);
  const next = createFakeControl('n1', { joinToken: 'join-2', nodeToken: 'node-secret' });
  next.more = { epoch: A };
  next.deploy([desiredFunction(1, '3.0.0')]);
  control = next;
  const again = await start('join-2');
  await turnUntil('it has what that says', () => versionOf(again.agent.accepted()) === '3.0.0', 1_000);
  expect(next.joins.length).toBe(1);
});
