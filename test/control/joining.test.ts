// Joining: who gets in with which token and which key, and what a crash in the middle costs.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { Value } from '@sinclair/typebox/value';
import { NO_FAILPOINTS } from '../../src/base/failpoints/failpoints.ts';
import { JoinAnswer } from '../../src/model/protocol.ts';
import { createTestKey, failpoints, type Fleet, openFleet, signedJoin } from './harness.ts';

let fleet: Fleet;
beforeEach(async () => {
  fleet = await openFleet();
});
afterEach(() => fleet.close());

const joinWith = (token: string | null, change: Record<string, unknown> = {}, key = createTestKey()) => {
  const body = { node_id: 'n1', pop_id: 'pop-1', labels: {}, edge_version: '0.1.0', ...change };
  const json = signedJoin(token ?? '', body, key);
  return fleet.call('POST', '/api/v1/nodes/join', { token, json });
};

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

  test('repeats with the same key and token until the node has sent a heartbeat', async () => {
    const [token, key] = [await fleet.joinToken(), createTestKey()];
    const lost = Value.Parse(JoinAnswer, (await joinWith(token, {}, key)).body);
    const again = await joinWith(token, {}, key);
    expect([again.status, again.at('node_id')]).toEqual([201, 'n1']);
    const node = Value.Parse(JoinAnswer, again.body);
    expect((await fleet.beat(lost)).code).toBe('unauthenticated');
    expect((await fleet.beat(node)).status).toBe(200);
    expect((await joinWith(token, {}, key)).code).toBe('join_token_invalid');
    expect((await fleet.beat(node)).status).toBe(200);
  });

  test('binds a token to the key and the node that used it first', async () => {
    const [token, key] = [await fleet.joinToken(), createTestKey()];
    expect((await joinWith(token, {}, key)).status).toBe(201);
    const other = await joinWith(token);
    expect([other.status, other.code]).toEqual([401, 'join_token_invalid']);
    expect(other.string('error.message')).toContain('Another node has used this join token');
    expect((await joinWith(token, { node_id: 'n2' }, key)).code).toBe('join_token_invalid');
    expect((await joinWith(token, {}, key)).status).toBe(201);
  });

  test('with the key of a node that is online needs any token', async () => {
    const key = createTestKey();
    expect((await joinWith(await fleet.joinToken(), {}, key)).status).toBe(201);
    const joinedAt = (await fleet.call('GET', '/api/v1/nodes/n1')).string('joined_at');
    await fleet.clock.advance(1_000);
    expect((await joinWith(await fleet.joinToken())).code).toBe('node_id_taken');
    expect((await joinWith(await fleet.joinToken(), {}, key)).status).toBe(201);
    expect((await fleet.call('GET', '/api/v1/nodes/n1')).at('joined_at')).toBe(joinedAt);
  });

  test('is refused without the proof that the node holds its key', async () => {
    const [token, key] = [await fleet.joinToken(), createTestKey()];
    const stolen = { ...createTestKey(), publicKey: key.publicKey };
    expect((await joinWith(token, {}, key)).status).toBe(201);
    expect((await joinWith(token, {}, stolen)).code).toBe('join_token_invalid');
    const replayed = signedJoin(await fleet.joinToken(), { node_id: 'n1' }, key);
    expect((await joinWith(token, { proof: replayed.proof, public_key: key.publicKey })).code).toBe(
      'join_token_invalid',
    );
  });

  test('that was lost with the control plane is done by the same request', async () => {
    const [token, key] = [await fleet.joinToken(), createTestKey()];
    fleet = await fleet.reopen({ failpoints: failpoints('mutation_committed=fail:EIO') });
    expect((await joinWith(token, {}, key)).code).toBe('internal');
    fleet = await fleet.reopen({ failpoints: NO_FAILPOINTS });
    const node = Value.Parse(JoinAnswer, (await joinWith(token, {}, key)).body);
    expect((await fleet.beat(node)).status).toBe(200);
  });

  test.each([-86_400_000, 86_400_000])(
    'tokens expire on time or early after a jump of %p ms',
    async (jumpMs) => {
      const token = await fleet.joinToken({ ttl_ms: 60_000 });
      const unused = await fleet.joinToken({ ttl_ms: 60_000 });
      fleet.clock.jump(jumpMs);
      const fresh = await fleet.joinToken({ ttl_ms: 60_000 });
      await fleet.clock.advance(59_999);
      expect((await joinWith(token)).status).toBe(jumpMs < 0 ? 201 : 401);
      expect((await joinWith(fresh, { node_id: 'n2' })).status).toBe(201);
      await fleet.clock.advance(1);
      for (const late of [unused, fresh])
        expect((await joinWith(late, { node_id: 'n3' })).code).toBe('join_token_invalid');
    },
  );

  test('tokens of a clock that ran a year ahead are gone with it', async () => {
    fleet.clock.jump(365 * 86_400_000);
    fleet = await fleet.reopen();
    const token = await fleet.joinToken();
    fleet.clock.jump(-365 * 86_400_000);
    fleet = await fleet.reopen();
    expect((await joinWith(token)).code).toBe('join_token_invalid');
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
