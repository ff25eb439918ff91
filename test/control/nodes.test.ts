// Nodes: heartbeats and their long poll, desired states on the wire.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { createPublicKey, verify } from 'node:crypto';
import { Value } from '@sinclair/typebox/value';
import { WALL_BOUNDS } from '../../src/base/limits/wall.ts';
import { SYNC_BOUNDS, SYNC_DEFAULTS, SYNC_TUNING } from '../../src/base/limits/sync.ts';
import { desiredDigest } from '../../src/model/rules/desired.ts';
import { DesiredState, HeartbeatAnswer, type JoinAnswer } from '../../src/model/protocol.ts';
import type { WallReport } from '../../src/model/wall.ts';
import { type Answer, type Fleet, helloAgain, observed, openFleet, until } from './harness.ts';

let fleet: Fleet;
beforeEach(async () => {
  fleet = await openFleet();
});
afterEach(() => fleet.close());

const deploy = (id: string, json: Record<string, unknown> = {}) => {
  return fleet.call('POST', `/api/v1/functions/${id}/deploy`, { json });
};

/** Sends a heartbeat that is held; `answer` is null until it is answered. */
function hold(node: JoinAnswer, digest: string, signal?: AbortSignal): { answer: Answer | null } {
  const held: { answer: Answer | null } = { answer: null };
  const heartbeat = { applied_digest: digest, hold_ms: SYNC_BOUNDS.heartbeatHoldMs };
  void fleet.beat(node, heartbeat, signal).then((answer) => (held.answer = answer));
  return held;
}

async function isHeld(held: { answer: Answer | null }, count = 1): Promise<void> {
  await until(async () => (await heldPolls()) === count);
  expect(held.answer).toBeNull();
}

async function heldPolls(): Promise<number> {
  const line = (await fleet.metrics.render())
    .split('\n')
    .find((text) => text.startsWith('control_held_polls '));
  return Number(line?.split(' ')[1]);
}

describe('The wall that a node reports', () => {
  const part = { part: 'landlock', state: 'missing', reason: 'function not implemented (ENOSYS)' } as const;

  test('is kept with the node and shown, until the node reports another', async () => {
    const node = await fleet.join('n1');
    expect((await fleet.call('GET', '/api/v1/nodes/n1')).at('wall')).toBe(null);
    await fleet.beat(node, { wall: [part] });
    expect((await fleet.call('GET', '/api/v1/nodes/n1')).at('wall')).toEqual([part]);
    const held = { part: 'landlock', state: 'held', reason: 'version 7' } as const;
    await fleet.beat(node, { wall: [held] });
    expect((await fleet.call('GET', '/api/v1/nodes')).at('items.0.wall')).toEqual([held]);
  });

  test('may name a part that the control plane does not know', async () => {
    const node = await fleet.join('n1');
    const unknown = { part: 'moat', state: 'held', reason: null } as const;
    expect((await fleet.beat(node, { wall: [unknown] })).status).toBe(200);
    expect((await fleet.call('GET', '/api/v1/nodes/n1')).at('wall')).toEqual([unknown]);
  });

  test.each<[what: string, wall: unknown]>([
    ['too many parts', Array.from({ length: WALL_BOUNDS.partsMax + 1 }, () => part)],
    ['a reason that is too long', [{ ...part, reason: 'x'.repeat(WALL_BOUNDS.reasonLengthMax + 1) }]],
    ['a reason that controls a terminal', [{ ...part, reason: '\u001b[2J' }]],
    ['a reason of two lines', [{ ...part, reason: 'a\nb' }]],
    ['a name that is no name', [{ ...part, part: '<b>' }]],
    ['a name that is too long', [{ ...part, part: 'x'.repeat(33) }]],
    ['a state that does not exist', [{ ...part, state: 'fine' }]],
    ['more than a part has', [{ ...part, more: 1 }]],
    ['a list of texts', ['seccomp']],
    ['no list', 'seccomp'],
  ])('is refused with %s', async (_, wall) => {
    const node = await fleet.join('n1');
    const refused = await fleet.beat(node, { wall: wall as WallReport });
    expect([refused.status, refused.code]).toEqual([422, 'validation_failed']);
    expect((await fleet.call('GET', '/api/v1/nodes/n1')).at('wall')).toBe(null);
  });
});

describe('A heartbeat', () => {
  test('is answered with the whole desired state, signed over the exact bytes', async () => {
    const id = await fleet.publish('hello');
    await fleet.call('POST', '/api/v1/routes', { json: { function_id: id, path: '/hello' } });
    const node = await fleet.join('n1');
    await deploy(id);
    const answer = await fleet.beat(node);
    const body = Value.Parse(HeartbeatAnswer, answer.body);
    expect(body.desired?.functions).toMatchObject([
      { function_id: id, version: '1.0.0', routes: [{ path: '/hello' }] },
    ]);
    expect(desiredDigest(Value.Parse(DesiredState, body.desired))).toBe(body.digest);
    const key = createPublicKey({
      key: { kty: 'OKP', crv: 'Ed25519', x: node.control_public_key },
      format: 'jwk',
    });
    const signature = Buffer.from(answer.headers.get('x-edge-signature') ?? '', 'base64url');
    expect(verify(null, answer.bytes, key, signature)).toBe(true);
    expect(verify(null, answer.bytes.slice(1), key, signature)).toBe(false);
  });

  test('is accepted from that node alone', async () => {
    const [one, two] = [await fleet.join('n1'), await fleet.join('n2')];
    const path = '/api/v1/nodes/n2/heartbeat';
    const json = { status: 'online' };
    for (const [token, code] of [
      [one.node_token, 'validation_failed'],
      [fleet.admin, 'forbidden'],
      ['x', 'unauthenticated'],
    ] as const) {
      expect((await fleet.call('POST', path, { token, json })).code).toBe(code);
    }
    expect((await fleet.beat({ ...two, node_token: one.node_token })).code).toBe('forbidden');
    expect((await fleet.call('GET', '/api/v1/nodes', { token: one.node_token })).code).toBe('forbidden');
    expect((await fleet.call('DELETE', '/api/v1/nodes/n2', { token: one.node_token })).code).toBe(
      'forbidden',
    );
  });

  test('stores what the node reports, except of versions that do not exist', async () => {
    const id = await fleet.publish('hello');
    const node = await fleet.join('n1');
    const progress = (await deploy(id)).string('deployment.id');
    const digest = (await fleet.beat(node)).string('digest');
    const functions = [
      observed(id, '1.0.0', 'loading'),
      observed('fn_ghost', '1.0.0', 'cached'),
      observed(id, '9.0.0', 'cached'),
    ];
    await fleet.beat(node, { applied_digest: digest, functions, cpu_percent: 12.5, status: 'degraded' });
    expect((await fleet.call('GET', '/api/v1/nodes/n1')).at('status')).toBe('degraded');
    expect((await fleet.call('GET', `/api/v1/deployments/${progress}`)).at('nodes.0.state')).toBe('loading');
    await fleet.beat(node, { applied_digest: digest, functions: [] });
    expect((await fleet.call('GET', `/api/v1/deployments/${progress}`)).at('nodes.0.state')).toBe('pending');
  });

  test('that reports an error is logged once, with node, function and message', async () => {
    const id = await fleet.publish('hello');
    const node = await fleet.join('n1');
    const functions = [observed(id, '1.0.0', 'error', 'artifact_unavailable: no route')];
    await fleet.beat(node, { functions });
    await fleet.beat(node, { functions });
    const logged = fleet.lines.filter((line) => line.includes('artifact_unavailable: no route'));
    expect(logged).toHaveLength(1);
    expect(JSON.parse(logged[0] ?? '{}')).toMatchObject({ node_id: 'n1', function_id: id, level: 'warn' });
  });

  test('without the state that was just sent is asked to wait', async () => {
    await deploy(await fleet.publish('hello'));
    const node = await fleet.join('n1');
    expect((await fleet.beat(node)).at('next_heartbeat_ms')).toBe(0);
    expect((await fleet.beat(node)).at('next_heartbeat_ms')).toBe(SYNC_TUNING.heartbeatRepeatMs);
  });

  test('that asks for no hold gets an interval of 80 to 100 % of the default', async () => {
    const node = await fleet.join('n1');
    const digest = (await fleet.beat(node)).string('digest');
    const next = Number((await fleet.beat(node, { applied_digest: digest })).at('next_heartbeat_ms'));
    expect(next).toBeGreaterThan(SYNC_DEFAULTS.heartbeatIntervalMs * 0.8 - 1);
    expect(next).toBeLessThanOrEqual(SYNC_DEFAULTS.heartbeatIntervalMs);
  });

  test('that is too large or malformed is refused', async () => {
    const node = await fleet.join('n1');
    const path = '/api/v1/nodes/n1/heartbeat';
    const token = node.node_token;
    const large = await fleet.call('POST', path, {
      token,
      body: 'x'.repeat(SYNC_BOUNDS.heartbeatBytesMax + 1),
    });
    expect([large.status, large.code]).toEqual([413, 'request_too_large']);
    const wrong = await fleet.beat(node, { hold_ms: SYNC_BOUNDS.heartbeatHoldMs + 1 });
    expect(wrong.at('error.details.fields.0.field')).toBe('hold_ms');
  });
});

describe('A held heartbeat', () => {
  let node: JoinAnswer;
  let empty: string;
  let id: string;
  beforeEach(async () => {
    id = await fleet.publish('hello');
    node = await fleet.join('n1', { labels: { region: 'tokyo' } });
    empty = (await fleet.beat(node)).string('digest');
  });

  test('is answered by a deployment to its node, without any wait', async () => {
    const held = hold(node, empty);
    await isHeld(held);
    await deploy(id);
    await until(() => held.answer !== null);
    expect(held.answer?.at('desired.functions.0.function_id')).toBe(id);
    expect(held.answer?.at('next_heartbeat_ms')).toBe(0);
  });

  test('stays held by a deployment to other nodes and by other changes that do not concern it', async () => {
    const held = hold(node, empty);
    await isHeld(held);
    await deploy(id, { target_pop: ['elsewhere'] });
    await fleet.create('other');
    await isHeld(held);
  });

  test('is answered without a desired state at the end of its hold', async () => {
    const held = hold(node, empty);
    await isHeld(held);
    await fleet.clock.advance(SYNC_BOUNDS.heartbeatHoldMs * 0.79);
    expect(held.answer).toBeNull();
    await fleet.clock.advance(SYNC_BOUNDS.heartbeatHoldMs * 0.21);
    await until(() => held.answer !== null);
    expect(held.answer?.at('desired')).toBeNull();
    expect(held.answer?.at('digest')).toBe(empty);
  });

  test.each([
    [
      'a route',
      async () =>
        void (await fleet.call('POST', '/api/v1/routes', { json: { function_id: id, path: '/a' } })),
    ],
    ['an undeployment', async () => void (await fleet.call('POST', `/api/v1/functions/${id}/undeploy`))],
    [
      'another version',
      async () => {
        await fleet.call('POST', `/api/v1/functions/${id}/upload`, { body: helloAgain });
        await deploy(id);
      },
    ],
  ])('is answered by %s of a deployed function', async (_, change) => {
    await deploy(id);
    const digest = (await fleet.beat(node)).string('digest');
    const held = hold(node, digest);
    await isHeld(held);
    await change();
    await until(() => held.answer !== null);
    expect(held.answer?.at('digest')).not.toBe(digest);
    expect(held.answer?.at('desired')).not.toBeNull();
  });

  test('ends with a newer one of the same node, and when its client disconnects', async () => {
    const first = hold(node, empty);
    await isHeld(first);
    const leaving = new AbortController();
    const second = hold(node, empty, leaving.signal);
    await until(() => first.answer !== null);
    expect(first.answer?.at('desired')).toBeNull();
    await isHeld(second);
    leaving.abort();
    await until(async () => (await heldPolls()) === 0);
  });

  test('ends when the node is deleted', async () => {
    const held = hold(node, empty);
    await isHeld(held);
    expect((await fleet.call('DELETE', '/api/v1/nodes/n1')).status).toBe(204);
    await until(() => held.answer !== null);
    expect(held.answer?.code).toBe('node_not_found');
    expect((await fleet.beat(node)).code).toBe('unauthenticated');
    expect((await fleet.call('DELETE', '/api/v1/nodes/n1')).code).toBe('node_not_found');
    expect((await fleet.call('GET', '/api/v1/nodes/n1')).code).toBe('node_not_found');
  });

  test('is answered when the control plane closes', async () => {
    const held = hold(node, empty);
    await isHeld(held);
    await fleet.control.close();
    await until(() => held.answer !== null);
    expect(held.answer?.at('desired')).toBeNull();
  });
});

describe('Two processes with one identity', () => {
  const instances = ['a', 'b'].map((letter) => ({ id: `run_${letter.repeat(26)}`, host: `host-${letter}` }));
  const beatOf = (node: JoinAnswer, at: number) => {
    const instance = instances[at];
    if (instance === undefined) throw new Error('no such process');
    return fleet.beat(node, { instance });
  };

  test('are shown, logged and counted; a restart is neither', async () => {
    const node = await fleet.join('n1');
    for (const at of [0, 0, 1, 1]) await beatOf(node, at);
    expect((await fleet.call('GET', '/api/v1/nodes/n1')).at('instances')).toEqual([instances[1]]);
    expect(await fleet.metrics.render()).toContain('control_node_instances{node_id="n1"} 1');
    for (const at of [0, 1, 0, 1]) await beatOf(node, at);
    expect((await fleet.call('GET', '/api/v1/nodes/n1')).at('instances')).toEqual(instances.toReversed());
    expect(await fleet.metrics.render()).toContain('control_node_instances{node_id="n1"} 2');
    const logged = fleet.lines.filter((line) => line.includes('several processes report as one node'));
    expect(logged).toHaveLength(1);
    expect(logged[0]).toContain('host-a');
    expect(logged[0]).toContain('host-b');
  });

  test('do not end the held heartbeats of each other', async () => {
    const node = await fleet.join('n1');
    const digest = (await beatOf(node, 0)).string('digest');
    for (const instance of instances) {
      const request = { instance, applied_digest: digest, hold_ms: SYNC_BOUNDS.heartbeatHoldMs };
      void fleet.beat(node, request);
    }
    await until(async () => (await heldPolls()) === 2);
  });

  test('are one again once one of them is silent for the limit', async () => {
    const node = await fleet.join('n1');
    for (const at of [0, 1, 0, 1, 0, 1]) await beatOf(node, at);
    for (let ms = 0; ms < SYNC_DEFAULTS.nodeOfflineMs; ms += SYNC_DEFAULTS.heartbeatIntervalMs) {
      await fleet.clock.advance(SYNC_DEFAULTS.heartbeatIntervalMs);
      await beatOf(node, 0);
    }
    await until(() => fleet.lines.some((line) => line.includes('one process reports as this node again')));
    expect(await fleet.metrics.render()).toContain('control_node_instances{node_id="n1"} 1');
  });
});
