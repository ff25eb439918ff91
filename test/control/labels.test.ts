// Labels of nodes: where they come from, and that what a node says of itself selects nothing.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { FUNCTION_BOUNDS } from '../../src/base/limits/function.ts';
import { type Answer, createTestKey, type Fleet, openFleet, signedJoin, until } from './harness.ts';

let fleet: Fleet;
let id: string;
beforeEach(async () => {
  fleet = await openFleet();
  id = await fleet.publish('hello');
});
afterEach(() => fleet.close());

const deploy = (json: Record<string, unknown>): Promise<Answer> =>
  fleet.call('POST', `/api/v1/functions/${id}/deploy`, { json });
const label = (nodeId: string, labels: Record<string, unknown>): Promise<Answer> =>
  fleet.call('PATCH', `/api/v1/nodes/${nodeId}`, { json: { labels } });
const TOKYO = { pop_selector: "region == 'tokyo'", allow_empty: true };

/** A node that says these labels of itself, when it joins and in each heartbeat. */
async function joinSaying(
  nodeId: string,
  labels: Record<string, string>,
  token: Record<string, unknown> = {},
): Promise<(applied_digest?: string) => Promise<Answer>> {
  const joinToken = await fleet.joinToken(token);
  const about = { node_id: nodeId, pop_id: 'pop-1', labels, edge_version: '0.1.0' };
  const json = signedJoin(joinToken, about);
  const joined = await fleet.call('POST', '/api/v1/nodes/join', { token: joinToken, json });
  const node = { node_id: nodeId, node_token: joined.string('node_token'), control_public_key: '' };
  return (applied_digest) => fleet.beat(node, { labels, applied_digest: applied_digest ?? null });
}

const countOf = (answer: Answer): number => {
  const functions = answer.at('desired.functions');
  return Array.isArray(functions) ? functions.length : 0;
};

describe('What a node says of itself', () => {
  test('is shown and selects nothing', async () => {
    await deploy(TOKYO);
    const beat = await joinSaying('liar', { region: 'tokyo' });
    expect(countOf(await beat())).toBe(0);
    const shown = await fleet.call('GET', '/api/v1/nodes/liar');
    expect([shown.at('labels'), shown.at('reported_labels')]).toEqual([{}, { region: 'tokyo' }]);
    expect((await deploy({ pop_selector: "region == 'tokyo'" })).code).toBe('selector_invalid');
  });

  test('does not win over what its join token says', async () => {
    await deploy(TOKYO);
    const beat = await joinSaying('n1', { region: 'tokyo' }, { labels: { region: 'paris' } });
    expect(countOf(await beat())).toBe(0);
    const other = await joinSaying('n2', { region: 'paris' }, { labels: { region: 'tokyo' } });
    expect(countOf(await other())).toBe(1);
  });
});

describe('An operator', () => {
  test('sets labels, which count at once, also for a heartbeat that is held', async () => {
    await deploy(TOKYO);
    const node = await fleet.join('n1', { labels: { spare: true } });
    const digest = (await fleet.beat(node)).string('digest');
    let answer: Answer | null = null;
    void fleet.beat(node, { applied_digest: digest, hold_ms: 20_000 }).then((got) => (answer = got));
    await until(async () => (await fleet.metrics.render()).includes('control_held_polls 1'));
    const set = await label('n1', { region: 'tokyo', disk_gb: 80 });
    expect([set.status, set.at('labels')]).toEqual([200, { spare: true, region: 'tokyo', disk_gb: 80 }]);
    await until(() => answer !== null);
    expect(countOf(await fleet.beat(node))).toBe(1);
    expect((await label('n1', { region: null })).at('labels')).toEqual({ spare: true, disk_gb: 80 });
    expect(countOf(await fleet.beat(node))).toBe(0);
  });

  test('changes no revision of a node whose desired state stays', async () => {
    const node = await fleet.join('n1');
    await deploy({});
    const before = (await fleet.beat(node)).at('revision');
    await label('n1', { region: 'tokyo' });
    expect((await fleet.beat(node)).at('revision')).toBe(before);
  });

  test.each([
    [{ and: 1 }, 'labels.and'],
    [{ pop_id: 'x' }, 'labels.pop_id'],
    [{ 'a-b': 1 }, 'labels.a-b'],
    [{ a: {} }, 'labels.a'],
  ])('is refused %j', async (labels, field) => {
    await fleet.join('n1');
    const refused = await label('n1', labels);
    expect([refused.status, refused.at('error.details.fields.0.field')]).toEqual([422, field]);
    const token = await fleet.call('POST', '/api/v1/nodes/join-tokens', { json: { labels } });
    expect(token.at('error.details.fields.0.field')).toBe(field);
  });

  test('is refused more labels than a node may have, and a node that is not there', async () => {
    await fleet.join('n1');
    const many = (prefix: string) =>
      Object.fromEntries(
        Array.from({ length: FUNCTION_BOUNDS.labelsMax }, (_, at) => [`${prefix}${at}`, at]),
      );
    expect((await label('n1', many('a'))).status).toBe(200);
    expect((await label('n1', many('b'))).code).toBe('limit_reached');
    expect((await label('n2', { a: 1 })).code).toBe('node_not_found');
  });
});

describe('A node that joins again', () => {
  test('keeps its labels with a token that is for its id', async () => {
    await fleet.join('n1', { labels: { region: 'tokyo' } });
    const token = await fleet.joinToken({ node_id: 'n1', labels: { spare: true } });
    await fleet.join('n1', { joinToken: token });
    const shown = await fleet.call('GET', '/api/v1/nodes/n1');
    expect(shown.at('labels')).toEqual({ region: 'tokyo', spare: true });
  });

  test('keeps its labels with its own key, and a token that is for any node', async () => {
    const key = createTestKey();
    const about = { node_id: 'n1', pop_id: 'pop-1', labels: {}, edge_version: '0.1.0' };
    for (const labels of [{ region: 'tokyo' }, { spare: true }]) {
      const token = await fleet.joinToken({ labels });
      const json = signedJoin(token, about, key);
      expect((await fleet.call('POST', '/api/v1/nodes/join', { token, json })).status).toBe(201);
    }
    const shown = await fleet.call('GET', '/api/v1/nodes/n1');
    expect(shown.at('labels')).toEqual({ region: 'tokyo', spare: true });
  });

  test('is refused more labels than a node may have', async () => {
    const many = Array.from({ length: FUNCTION_BOUNDS.labelsMax }, (_, at) => [`a${at}`, at]);
    await fleet.join('n1', { labels: Object.fromEntries(many) });
    const token = await fleet.joinToken({ node_id: 'n1', labels: { spare: true } });
    await expect(fleet.join('n1', { joinToken: token })).rejects.toThrow('limit_reached');
    await fleet.join('n1', { joinToken: await fleet.joinToken({ node_id: 'n1' }) });
  });

  test('takes over no labels with another key and a token that is for any node', async () => {
    const node = await fleet.join('n1', { labels: { region: 'tokyo' } });
    await fleet.beat(node, { status: 'offline' });
    await deploy(TOKYO);
    const again = await fleet.join('n1', { joinToken: await fleet.joinToken() });
    expect(countOf(await fleet.beat(again))).toBe(0);
    expect((await fleet.call('GET', '/api/v1/nodes/n1')).at('labels')).toEqual({});
  });
});
