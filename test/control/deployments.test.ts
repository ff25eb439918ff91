// Routes and deployments: what leads to a function, what is deployed, and how far the nodes are.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { CONTROL_BOUNDS } from '../../src/base/limits/control.ts';
import { FUNCTION_BOUNDS } from '../../src/base/limits/function.ts';
import { SYNC_TUNING } from '../../src/base/limits/sync.ts';
import type { JoinAnswer } from '../../src/model/protocol.ts';
import { type Answer, type Fleet, helloAgain, observed, openFleet, until } from './harness.ts';

let fleet: Fleet;
beforeEach(async () => {
  fleet = await openFleet();
});
afterEach(() => fleet.close());

const addRoute = (json: Record<string, unknown>) => fleet.call('POST', '/api/v1/routes', { json });
const deploy = (id: string, json: Record<string, unknown> = {}) => {
  return fleet.call('POST', `/api/v1/functions/${id}/deploy`, { json });
};

/** The node accepts the desired state that it is offered and reports these versions. */
async function settle(node: JoinAnswer, functions: ReturnType<typeof observed>[]): Promise<Answer> {
  const offered = await fleet.beat(node);
  const applied = {
    applied_digest: offered.string('digest'),
    applied_revision: Number(offered.at('revision')),
  };
  return fleet.beat(node, { ...applied, functions });
}

describe('A route', () => {
  test('leads every host and method to its function unless it names some', async () => {
    const id = await fleet.publish('hello');
    const made = await addRoute({ function_id: id, path: '/hello' });
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({
      host: '*',
      path: '/hello',
      methods: [],
      priority: 0,
      project_id: 'default',
    });
    const again = await addRoute({ function_id: id, path: '/hello' });
    expect([again.status, again.at('id')]).toEqual([200, made.at('id')]);
    const listed = await fleet.call('GET', `/api/v1/routes?function_id=${id}`);
    expect(listed.at('items.0.id')).toBe(made.at('id'));
    expect((await fleet.call('DELETE', `/api/v1/routes/${made.string('id')}`)).status).toBe(204);
    const gone = await fleet.call('DELETE', `/api/v1/routes/${made.string('id')}`);
    expect([gone.status, gone.code]).toEqual([404, 'route_unknown']);
  });

  test.each([
    ['the same place', {}, 409],
    ['another parameter name', { path: '/a/:other' }, 409],
    ['a method of it', { methods: ['POST'] }, 409],
    ['another method', { methods: ['PUT'] }, 201],
    ['another host', { host: '*.example.com' }, 201],
    ['another path', { path: '/b/:id' }, 201],
    ['another priority', { priority: 1 }, 201],
  ])('of another function with %s gets %s', async (_, change, status) => {
    const [first, second] = [await fleet.publish('first'), await fleet.publish('second')];
    await addRoute({ function_id: first, path: '/a/:id', methods: ['GET', 'POST'] });
    const base = { function_id: second, path: '/a/:id', methods: ['GET'] };
    const made = await addRoute({ ...base, ...change });
    expect([made.status, made.code]).toEqual([status, status === 409 ? 'route_taken' : undefined]);
  });

  test('without methods conflicts with every method', async () => {
    const [first, second] = [await fleet.publish('first'), await fleet.publish('second')];
    await addRoute({ function_id: first, path: '/a' });
    expect((await addRoute({ function_id: second, path: '/a', methods: ['DELETE'] })).code).toBe(
      'route_taken',
    );
  });

  test.each([
    [{ path: 'a' }, 'path'],
    [{ path: '/a b' }, 'path'],
    [{ path: '/a/../b\u0000' }, 'path'],
    [{ path: '/a', host: 'Example.com' }, 'host'],
    [{ path: '/a', host: 'a:80' }, 'host'],
    [{ path: '/a', methods: ['TRACE'] }, 'methods.0'],
    [{ path: '/a', methods: ['GET', 'GET'] }, 'methods'],
    [{ path: '/a', priority: 1_001 }, 'priority'],
    [{ path: '/a', extra: 1 }, 'extra'],
  ])('%j is refused', async (json, field) => {
    const id = await fleet.publish('hello');
    const refused = await addRoute({ function_id: id, ...json });
    expect([refused.code, refused.at('error.details.fields.0.field')]).toEqual(['validation_failed', field]);
  });

  test('needs a function that exists, and a function has a bounded number of routes', async () => {
    expect((await addRoute({ function_id: 'fn_x', path: '/a' })).code).toBe('function_not_found');
    const { id } = await fleet.create('hello');
    for (let index = 0; index < FUNCTION_BOUNDS.routesPerFunctionMax; index += 1) {
      expect((await addRoute({ function_id: id, path: `/p${index}` })).status).toBe(201);
    }
    const refused = await addRoute({ function_id: id, path: '/more' });
    expect([refused.status, refused.code]).toEqual([409, 'limit_reached']);
  });
});

describe('Deploying', () => {
  test('takes the highest published version and every node', async () => {
    const id = await fleet.publish('hello');
    await fleet.join('n1');
    const done = await deploy(id);
    expect(done.status).toBe(201);
    expect(done.body).toMatchObject({
      deployment: {
        version: '1.0.0',
        previous_version: null,
        from: null,
        status: 'active',
        pop_selector: null,
        target_pop: null,
      },
      nodes: [{ node_id: 'n1', state: 'pending' }],
      state: 'waiting',
      changed: true,
      complete: false,
    });
  });

  test('never takes a pre-release unless it is named', async () => {
    const id = await fleet.publish('hello');
    await fleet.join('n1');
    for (const version of ['2.0.0-rc.1', '1.5.0']) {
      await fleet.call('POST', `/api/v1/functions/${id}/versions`, { json: { version } });
      await fleet.call('POST', `/api/v1/functions/${id}/upload?version=${version}`, { body: helloAgain });
    }
    expect((await fleet.call('GET', `/api/v1/functions/${id}`)).at('latest_version')).toBe('1.5.0');
    expect((await deploy(id)).at('deployment.version')).toBe('1.5.0');
    const asked = await deploy(id, { version: '2.0.0-rc.1', strategy: 'pull' });
    expect(asked.at('deployment.version')).toBe('2.0.0-rc.1');
    const next = await fleet.call('POST', `/api/v1/functions/${id}/versions`, { json: {} });
    expect(next.at('version.version')).toBe('1.5.1');
  });

  test('uses the selector of the function unless the request has its own target', async () => {
    const { id } = await fleet.create('hello', { pop_selector: "region == 'tokyo'" });
    await fleet.call('POST', `/api/v1/functions/${id}/upload`, { body: helloAgain });
    await fleet.join('n1', { labels: { region: 'tokyo', gpu: true }, popId: 'p' });
    expect((await deploy(id)).at('deployment.pop_selector')).toBe("region == 'tokyo'");
    expect((await deploy(id, { target_pop: ['p'] })).body).toMatchObject({
      deployment: { pop_selector: null, target_pop: ['p'] },
    });
    expect((await deploy(id, { pop_selector: 'gpu' })).at('deployment.pop_selector')).toBe('gpu');
  });

  test('replaces the deployment of the same target, and is listed before it', async () => {
    const id = await fleet.publish('hello');
    await fleet.join('n1');
    const first = await deploy(id);
    await fleet.call('POST', `/api/v1/functions/${id}/upload`, { body: helloAgain });
    const second = await deploy(id);
    expect(second.at('deployment.previous_version')).toBe('1.0.0');
    const old = await fleet.call('GET', `/api/v1/deployments/${first.string('deployment.id')}`);
    expect(old.body).toMatchObject({ deployment: { status: 'superseded' }, state: 'over', nodes: [] });
    const listed = await fleet.call('GET', `/api/v1/functions/${id}/deployments?limit=1`);
    expect(listed.at('items.0.id')).toBe(second.at('deployment.id'));
    const cursor = listed.string('next_cursor');
    const rest = await fleet.call('GET', `/api/v1/functions/${id}/deployments?cursor=${cursor}`);
    expect(rest.at('items.0.id')).toBe(first.at('deployment.id'));
    const active = await fleet.call('GET', '/api/v1/deployments?status=active');
    expect([active.at('items.0.id'), active.at('items.1')]).toEqual([second.at('deployment.id'), undefined]);
  });

  test.each([
    [{ version: '9.9.9' }, 404, 'version_not_found'],
    [{ version: '1.0.1' }, 409, 'version_not_published'],
    [{ version: 'latest' }, 422, 'validation_failed'],
    [{ pop_selector: 'region ==' }, 422, 'selector_invalid'],
    [{ pop_selector: "region.matches('x')" }, 422, 'selector_invalid'],
    [{ target_pop: [] }, 422, 'validation_failed'],
    [{ weights: 1 }, 422, 'validation_failed'],
  ])('%j is refused', async (json, status, code) => {
    const id = await fleet.publish('hello');
    await fleet.join('n1', { labels: { region: 'tokyo' } });
    await fleet.call('POST', `/api/v1/functions/${id}/versions`, { json: {} });
    const refused = await deploy(id, json);
    expect([refused.status, refused.code]).toEqual([status, code]);
    expect((await fleet.call('GET', `/api/v1/functions/${id}/deployments`)).at('items')).toEqual([]);
  });

  test('needs a published version, and a function that exists', async () => {
    const { id } = await fleet.create('hello');
    expect((await deploy(id)).code).toBe('version_not_published');
    expect((await deploy('fn_x')).code).toBe('function_not_found');
    expect((await fleet.call('GET', '/api/v1/functions/fn_x/deployments')).code).toBe('function_not_found');
  });
});

describe('The progress of a deployment', () => {
  test('has failed with the reason of a node, and says whether it is tried again', async () => {
    const id = await fleet.publish('hello');
    const [a, b] = [await fleet.join('a'), await fleet.join('b')];
    const path = `/api/v1/deployments/${(await deploy(id)).string('deployment.id')}`;
    await settle(a, [observed(id, '1.0.0', 'error', 'artifact_unavailable: gone')]);
    expect((await fleet.call('GET', path)).body).toMatchObject({
      state: 'failed',
      reason: 'a: artifact_unavailable: gone',
      complete: false,
    });
    await settle(b, [observed(id, '1.0.0', 'failed', 'guest_start_failed: it traps')]);
    expect((await fleet.call('GET', path)).body).toMatchObject({
      state: 'failed',
      reason: 'b: guest_start_failed: it traps',
      nodes: [{ state: 'error' }, { state: 'failed' }],
    });
    await settle(a, [observed(id, '1.0.0', 'cached')]);
    await settle(b, [observed(id, '1.0.0', 'cached')]);
    expect((await fleet.call('GET', path)).body).toMatchObject({ state: 'done', reason: null });
  });

  test('is complete once every node that is not offline has the version', async () => {
    const id = await fleet.publish('hello');
    const [a, b] = [await fleet.join('a'), await fleet.join('b')];
    const path = `/api/v1/deployments/${(await deploy(id)).string('deployment.id')}`;
    const states = async () => {
      const progress = await fleet.call('GET', path);
      return [progress.at('nodes.0.state'), progress.at('nodes.1.state'), progress.at('complete')];
    };
    expect(await states()).toEqual(['pending', 'pending', false]);
    await settle(a, [observed(id, '1.0.0', 'cached')]);
    expect(await states()).toEqual(['cached', 'pending', false]);
    await settle(b, [observed(id, '1.0.0', 'error', 'artifact_unavailable: gone')]);
    expect(await states()).toEqual(['cached', 'error', false]);
    await fleet.beat(b, { status: 'offline' });
    expect((await states())[2]).toBe(true);
  });

  test('does not count what a node reported of an earlier deployment of the version', async () => {
    const id = await fleet.publish('hello');
    await fleet.call('POST', `/api/v1/functions/${id}/upload`, { body: helloAgain });
    const node = await fleet.join('n');
    await deploy(id, { version: '1.0.0' });
    await settle(node, [observed(id, '1.0.0', 'cached')]);
    await deploy(id, { version: '1.0.1' });
    await settle(node, [observed(id, '1.0.0', 'cached'), observed(id, '1.0.1', 'cached')]);
    const back = await fleet.call('POST', `/api/v1/functions/${id}/rollback`);
    expect([back.at('nodes.0.state'), back.at('complete')]).toEqual(['pending', false]);
  });

  test('of the same version again is complete at the first question: nothing changes on the node', async () => {
    const id = await fleet.publish('hello');
    const node = await fleet.join('n');
    await deploy(id);
    await settle(node, [observed(id, '1.0.0', 'cached')]);
    const again = (await deploy(id)).string('deployment.id');
    expect((await fleet.call('GET', `/api/v1/deployments/${again}`)).at('complete')).toBe(true);
  });

  test('counts a revision that a node has said and that no change of its state has stored', async () => {
    const id = await fleet.publish('hello');
    await fleet.call('POST', `/api/v1/functions/${id}/upload`, { body: helloAgain });
    const node = await fleet.join('n');
    await deploy(id, { version: '1.0.0' });
    const functions = [observed(id, '1.0.0', 'cached')];
    const applied_digest = (await settle(node, functions)).string('digest');
    const away = (await deploy(id, { version: '1.0.1' })).string('deployment.id');
    await fleet.call('GET', `/api/v1/deployments/${away}`);
    const path = `/api/v1/deployments/${(await deploy(id, { version: '1.0.0' })).string('deployment.id')}`;
    const applied_revision = Number((await fleet.beat(node, { applied_digest, functions })).at('revision'));
    await fleet.beat(node, { applied_digest, applied_revision, functions });
    await deploy(await fleet.publish('other'));
    expect((await fleet.call('GET', path)).at('nodes.0.state')).toBe('cached');
  });

  test('begins with the nodes on which it decides in the transaction that makes it', async () => {
    const id = await fleet.publish('hello');
    for (const [nodeId, popId] of ['nrt', 'fra'].map((pop) => [`${pop}-1`, pop] as const))
      await fleet.join(nodeId, { popId });
    const nodesOf = (answer: Answer) => [answer.at('nodes.0.node_id'), answer.at('nodes.1.node_id')];
    expect(nodesOf(await deploy(id, { target_pop: ['nrt'] }))).toEqual(['nrt-1', undefined]);
    const all = await deploy(id, { pop_selector: "pop_id != ''" });
    expect([all.status, ...nodesOf(all), all.at('state')]).toEqual([201, 'fra-1', 'nrt-1', 'waiting']);
    await fleet.call('POST', `/api/v1/functions/${id}/upload`, { body: helloAgain });
    const both = await deploy(id, { version: '1.0.1' });
    expect([both.at('deployments.length'), ...nodesOf(both)]).toEqual([2, 'fra-1', 'nrt-1']);
    expect(both.at('nodes.length')).toBe(2);
  });

  test('that was found and not made begins as far as its nodes have said', async () => {
    const id = await fleet.publish('hello');
    await fleet.call('POST', `/api/v1/functions/${id}/upload`, { body: helloAgain });
    const node = await fleet.join('n');
    for (const version of ['1.0.0', '1.0.1']) await deploy(id, { version });
    await settle(node, [observed(id, '1.0.1', 'cached')]);
    const back = () => fleet.call('POST', `/api/v1/functions/${id}/rollback`);
    expect((await back()).at('state')).toBe('waiting');
    await settle(node, [observed(id, '1.0.0', 'cached')]);
    const again = await back();
    expect([again.status, again.at('changed'), again.at('state')]).toEqual([200, false, 'done']);
  });

  test('holds a waiting request until the state of a node changes', async () => {
    const id = await fleet.publish('hello');
    const node = await fleet.join('n');
    const target = `/api/v1/deployments/${(await deploy(id)).string('deployment.id')}?wait_ms=20000`;
    let answer: Answer | null = null;
    void fleet.call('GET', target).then((got) => (answer = got));
    await fleet.clock.advance(1_000);
    expect(answer).toBeNull();
    await settle(node, [observed(id, '1.0.0', 'cached')]);
    await until(() => answer !== null);
    expect(answer).toMatchObject({ status: 200 });
  });

  test('is looked at once for reports that come close together: each look costs as much as there are nodes', async () => {
    const id = await fleet.publish('hello');
    const count = 2 * SYNC_TUNING.progressNodesPerMs;
    const nodes = await Promise.all(Array.from({ length: count }, (_, at) => fleet.join(`n${at}`)));
    const target = `/api/v1/deployments/${(await deploy(id)).string('deployment.id')}?wait_ms=20000`;
    let answer: Answer | null = null;
    void fleet.call('GET', target).then((got) => (answer = got));
    await until(async () => (await fleet.metrics.render()).includes('control_held_polls 1'));
    for (const node of nodes) await settle(node, [observed(id, '1.0.0', 'cached')]);
    expect(answer).toBeNull();
    await fleet.clock.advance(count / SYNC_TUNING.progressNodesPerMs);
    await until(() => answer !== null);
    expect(answer).toMatchObject({ body: { state: 'done' } });
  });

  test('ends a wait after its time, and at once where there is nothing to wait for', async () => {
    const id = await fleet.publish('hello');
    const node = await fleet.join('n');
    const first = (await deploy(id)).string('deployment.id');
    const waiting = fleet.call('GET', `/api/v1/deployments/${first}?wait_ms=999999999`);
    await until(async () => (await fleet.metrics.render()).includes('control_held_polls 1'));
    await fleet.clock.advance(CONTROL_BOUNDS.deploymentWaitMsMax);
    expect((await waiting).at('complete')).toBe(false);
    await settle(node, [observed(id, '1.0.0', 'error', 'x: y')]);
    expect((await fleet.call('GET', `/api/v1/deployments/${first}?wait_ms=20000`)).at('nodes.0.error')).toBe(
      'x: y',
    );
    await fleet.call('POST', `/api/v1/functions/${id}/undeploy`);
    const over = await fleet.call('GET', `/api/v1/deployments/${first}?wait_ms=20000`);
    expect(over.at('deployment.status')).toBe('undeployed');
  });

  test('of an unknown deployment is not found', async () => {
    for (const target of ['/api/v1/deployments/dep_x', '/api/v1/deployments/dep_x?wait_ms=10']) {
      const missing = await fleet.call('GET', target);
      expect([missing.status, missing.code]).toEqual([404, 'deployment_not_found']);
    }
  });
});
