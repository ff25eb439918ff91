// Nodes: joining, heartbeats and their long poll, desired states on the wire, liveness.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { createPublicKey, verify } from 'node:crypto';
import { Value } from '@sinclair/typebox/value';
import { SYNC_BOUNDS, SYNC_DEFAULTS, SYNC_TUNING } from '../../src/base/limits/sync.ts';
import { desiredDigest } from '../../src/model/rules/desired.ts';
import { DesiredState, HeartbeatAnswer, type JoinAnswer } from '../../src/model/protocol.ts';
import { type Answer, type Fleet, helloAgain, observed, openFleet, until } from './harness.ts';

let fleet: Fleet;
beforeEach(async () => {
  fleet = await openFleet();
});
afterEach(() => fleet.close());

const deploy = (id: string, json: Record<string, unknown> = {}) => {
  return fleet.call('POST', `/api/v1/functions/${id}/deploy`, { json });
};

const joinWith = (token: string | null, change: Record<string, unknown> = {}) => {
  const json = { node_id: 'n1', pop_id: 'pop-1', labels: {}, edge_version: '0.1.0', ...change };
  return fleet.call('POST', '/api/v1/nodes/join', { token, json });
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

describe('Joining', () => {
  test('gives a node its token and the key that signs desired states', async () => {
    const node = await fleet.join('n1', { labels: { region: 'tokyo', gpu: true, rank: 3 } });
    expect(node.node_token).toStartWith('edge_node_');
    expect(Buffer.from(node.control_public_key, 'base64url')).toHaveLength(32);
    const known = await fleet.call('GET', '/api/v1/nodes/n1');
    expect(known.body).toMatchObject({ status: 'online', labels: { region: 'tokyo', gpu: true, rank: 3 } });
    expect(known.text).not.toContain(node.node_token);
  });

  test('needs a join token that is known, unused and not expired', async () => {
    const token = await fleet.joinToken({ ttl_ms: 5_000 });
    for (const wrong of [null, 'edge_join_x', fleet.admin]) {
      const refused = await joinWith(wrong);
      expect([refused.status, refused.code]).toEqual([401, 'join_token_invalid']);
    }
    expect((await joinWith(token)).status).toBe(201);
    expect((await joinWith(token, { node_id: 'n2' })).code).toBe('join_token_invalid');
    const late = await fleet.joinToken({ ttl_ms: 5_000 });
    await fleet.clock.advance(5_000);
    expect((await joinWith(late, { node_id: 'n3' })).code).toBe('join_token_invalid');
  });

  test('with a token for one node or pop admits no other, and does not use the token up', async () => {
    const token = await fleet.joinToken({ node_id: 'n1', pop_id: 'pop-1' });
    expect((await joinWith(token, { node_id: 'n2' })).code).toBe('join_token_invalid');
    expect((await joinWith(token, { pop_id: 'pop-2' })).code).toBe('join_token_invalid');
    expect((await joinWith(token)).status).toBe(201);
  });

  test('again needs a token made for the node while it is online; the old node token ends', async () => {
    const first = await fleet.join('n1');
    const taken = await joinWith(await fleet.joinToken());
    expect([taken.status, taken.code]).toEqual([409, 'node_id_taken']);
    expect((await fleet.beat(first)).status).toBe(200);
    const second = await fleet.join('n1', { joinToken: await fleet.joinToken({ node_id: 'n1' }) });
    expect((await fleet.beat(first)).code).toBe('unauthenticated');
    await fleet.beat(second, { status: 'offline' });
    expect((await joinWith(await fleet.joinToken())).status).toBe(201);
  });

  test.each([
    [{ node_id: '../n' }, 'node_id'],
    [{ node_id: '' }, 'node_id'],
    [{ pop_id: 'a b' }, 'pop_id'],
    [{ labels: { 'a-b': 1 } }, 'labels.a-b'],
    [{ labels: { a: null } }, 'labels.a'],
    [{ labels: { a: 'x'.repeat(257) } }, 'labels.a'],
    [{ extra: 1 }, 'extra'],
  ])('refuses %j', async (change, field) => {
    const refused = await joinWith(await fleet.joinToken(), change);
    expect([refused.code, refused.at('error.details.fields.0.field')]).toEqual(['validation_failed', field]);
  });

  test('tokens may not live longer than the limit', async () => {
    const refused = await fleet.call('POST', '/api/v1/nodes/join-tokens', { json: { ttl_ms: 10 ** 12 } });
    expect(refused.at('error.details.fields.0.field')).toBe('ttl_ms');
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

describe('A silent node', () => {
  test('is offline after the limit, online again with its next heartbeat', async () => {
    const node = await fleet.join('n1');
    await fleet.beat(node);
    await fleet.clock.advance(SYNC_TUNING.nodeOfflineMs - SYNC_TUNING.livenessStepMs - 1);
    expect((await fleet.call('GET', '/api/v1/nodes/n1')).at('status')).toBe('online');
    await fleet.clock.advance(2 * SYNC_TUNING.livenessStepMs);
    await until(async () => (await fleet.call('GET', '/api/v1/nodes/n1')).at('status') === 'offline');
    expect(await fleet.metrics.render()).toContain('control_node_up{node_id="n1"} 0');
    await fleet.beat(node);
    expect((await fleet.call('GET', '/api/v1/nodes/n1')).at('status')).toBe('online');
  });

  test('among too many silent ones stays as it is: the control plane suspects itself', async () => {
    for (const name of ['a', 'b', 'c', 'd']) await fleet.beat(await fleet.join(name));
    await fleet.clock.advance(SYNC_TUNING.nodeOfflineMs * 2);
    await until(() => fleet.lines.some((line) => line.includes('many nodes are silent')));
    expect((await fleet.call('GET', '/api/v1/nodes/a')).at('status')).toBe('online');
  });

  test('gets the full time from a control plane that has just started', async () => {
    await fleet.beat(await fleet.join('n1'));
    await fleet.control.close();
    await fleet.clock.advance(SYNC_TUNING.nodeOfflineMs * 2);
    fleet = await fleet.reopen();
    await fleet.clock.advance(SYNC_TUNING.nodeOfflineMs - SYNC_TUNING.livenessStepMs);
    expect((await fleet.call('GET', '/api/v1/nodes/n1')).at('status')).toBe('online');
    await fleet.clock.advance(2 * SYNC_TUNING.livenessStepMs);
    await until(async () => (await fleet.call('GET', '/api/v1/nodes/n1')).at('status') === 'offline');
  });
});
