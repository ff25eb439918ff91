// Deployments by target: five pops, and what a deploy, a plan, a rollback or an end changes on each.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { CONTROL_BOUNDS } from '../../src/base/limits/control.ts';
import type { JoinAnswer } from '../../src/model/protocol.ts';
import { type Answer, type Fleet, helloAgain, openFleet } from './harness.ts';

const POPS = ['nrt', 'kix', 'fra', 'cdg', 'lhr'];

let fleet: Fleet;
let id: string;
let nodes: Map<string, JoinAnswer>;

beforeEach(async () => {
  fleet = await openFleet();
  id = await fleet.publish('hello');
  for (const version of ['1.1.0', '1.2.0']) {
    await fleet.call('POST', `/api/v1/functions/${id}/versions`, { json: { version } });
    await fleet.call('POST', `/api/v1/functions/${id}/upload?version=${version}`, { body: helloAgain });
  }
  nodes = new Map();
  for (const [at, pop] of POPS.entries()) {
    const labels = { region: at < 2 ? 'asia' : 'europe', disk_gb: at * 10 };
    nodes.set(pop, await fleet.join(`${pop}-1`, { popId: pop, labels }));
  }
});
afterEach(() => fleet.close());

const post = (path: string, json: Record<string, unknown> = {}): Promise<Answer> =>
  fleet.call('POST', `/api/v1${path}`, { json });
const deploy = (version: string, json: Record<string, unknown> = {}): Promise<Answer> =>
  post(`/functions/${id}/deploy`, { version, ...json });
const rollBack = (json: Record<string, unknown> = {}): Promise<Answer> =>
  post(`/functions/${id}/rollback`, json);

/** The version that each pop's node is told to run, in the order of `POPS`; null for none. */
async function versions(): Promise<unknown[]> {
  const told: unknown[] = [];
  for (const node of nodes.values())
    told.push((await fleet.beat(node)).at('desired.functions.0.version') ?? null);
  return told;
}

async function revisions(): Promise<unknown[]> {
  const told: unknown[] = [];
  for (const node of nodes.values()) told.push((await fleet.beat(node)).at('revision'));
  return told;
}

describe('A deploy to one pop', () => {
  test('changes that pop alone; the others keep their version and their revision', async () => {
    await deploy('1.0.0');
    const before = await revisions();
    await deploy('1.1.0', { target_pop: ['nrt'] });
    expect(await versions()).toEqual(['1.1.0', '1.0.0', '1.0.0', '1.0.0', '1.0.0']);
    const after = await revisions();
    expect(after.slice(1)).toEqual(before.slice(1));
    expect(Number(after[0])).toBeGreaterThan(Number(before[0]));
  });

  test('leaves the function alone where only that pop has it', async () => {
    await deploy('1.0.0', { target_pop: ['fra'] });
    expect(await versions()).toEqual([null, null, '1.0.0', null, null]);
    await deploy('1.1.0', { target_pop: ['nrt'] });
    expect(await versions()).toEqual(['1.1.0', null, '1.0.0', null, null]);
  });

  test('replaces an older one for the same pops in whatever order they are named', async () => {
    await deploy('1.0.0', { target_pop: ['fra', 'nrt'] });
    await deploy('1.1.0', { target_pop: ['nrt', 'fra'] });
    const active = await fleet.call('GET', `/api/v1/functions/${id}/deployments?status=active`);
    expect([active.at('items.0.version'), active.at('items.1')]).toEqual(['1.1.0', undefined]);
  });

  test('wins over older ones, and loses to newer ones, where targets overlap', async () => {
    await deploy('1.0.0', { pop_selector: "region == 'asia'" });
    await deploy('1.1.0', { target_pop: ['nrt', 'fra'] });
    expect(await versions()).toEqual(['1.1.0', '1.0.0', '1.1.0', null, null]);
    await deploy('1.2.0', { pop_selector: "region  == 'asia'" });
    expect(await versions()).toEqual(['1.2.0', '1.2.0', '1.1.0', null, null]);
  });
});

describe('A deploy to every node', () => {
  test('ends all others; `true` as the selector asks for it', async () => {
    await deploy('1.0.0', { target_pop: ['fra'] });
    await deploy('1.1.0', { target_pop: ['nrt'] });
    const done = await deploy('1.2.0', { pop_selector: 'true' });
    expect(done.at('deployment.pop_selector')).toBeNull();
    expect(await versions()).toEqual(POPS.map(() => '1.2.0'));
    const active = await fleet.call('GET', `/api/v1/functions/${id}/deployments?status=active`);
    expect([active.at('items.0.version'), active.at('items.1')]).toEqual(['1.2.0', undefined]);
  });
});

describe('A deploy without a target', () => {
  test('goes to every node where the function has no deployment', async () => {
    await deploy('1.0.0');
    expect(await versions()).toEqual(POPS.map(() => '1.0.0'));
  });

  test('moves each target that the function has, and no other node', async () => {
    await deploy('1.0.0', { target_pop: ['fra'] });
    await deploy('1.0.0', { pop_selector: "region == 'asia' and disk_gb > 5" });
    const done = await deploy('1.2.0');
    expect(await versions()).toEqual([null, '1.2.0', '1.2.0', null, null]);
    expect([done.at('deployments.0.version'), done.at('deployments.1.version')]).toEqual(['1.2.0', '1.2.0']);
    expect([done.at('nodes.0.node_id'), done.at('nodes.1.node_id'), done.at('nodes.2')]).toEqual([
      'fra-1',
      'kix-1',
      undefined,
    ]);
  });

  test('keeps the order of targets that overlap', async () => {
    await deploy('1.0.0', { pop_selector: "region == 'asia'" });
    await deploy('1.1.0', { target_pop: ['nrt'] });
    await deploy('1.2.0');
    await rollBack();
    expect(await versions()).toEqual(['1.1.0', '1.0.0', null, null, null]);
  });
});

describe('Ending a deployment', () => {
  test('gives its nodes back to the next that matches, once', async () => {
    await deploy('1.0.0');
    const canary = (await deploy('1.1.0', { target_pop: ['nrt'] })).string('deployment.id');
    const ended = await fleet.call('POST', `/api/v1/deployments/${canary}/end`);
    expect([ended.status, ended.at('status')]).toEqual([200, 'ended']);
    expect(await versions()).toEqual(POPS.map(() => '1.0.0'));
    const at = await revisions();
    const again = await fleet.call('POST', `/api/v1/deployments/${canary}/end`);
    expect([again.status, again.at('status')]).toEqual([200, 'ended']);
    expect(await revisions()).toEqual(at);
    expect((await fleet.call('POST', '/api/v1/deployments/dep_x/end')).code).toBe('deployment_not_found');
  });

  test('takes the function off nodes that no other matches; undeploy off all', async () => {
    await deploy('1.0.0', { target_pop: ['fra'] });
    const other = (await deploy('1.1.0', { target_pop: ['nrt'] })).string('deployment.id');
    await fleet.call('POST', `/api/v1/deployments/${other}/end`);
    expect(await versions()).toEqual([null, null, '1.0.0', null, null]);
    await deploy('1.1.0', { target_pop: ['nrt'] });
    const ended = await fleet.call('POST', `/api/v1/functions/${id}/undeploy`);
    expect([ended.at('deployments.0.status'), ended.at('deployments.1.status')]).toEqual([
      'undeployed',
      'undeployed',
    ]);
    expect(await versions()).toEqual(POPS.map(() => null));
    const again = await fleet.call('POST', `/api/v1/functions/${id}/undeploy`);
    expect([again.status, again.code]).toEqual([409, 'not_deployed']);
    expect((await rollBack()).code).toBe('not_deployed');
  });
});

describe('A target that no node matches', () => {
  test.each([
    [
      { pop_selector: "regoin == 'asia'" },
      'selector_invalid',
      'at character 1: No node has the label "regoin"; did you mean region?',
    ],
    [
      { pop_selector: 'region == asia' },
      'selector_invalid',
      'at character 11: No node has the label "asia"; did you mean the text \'asia\'?',
    ],
    [
      { pop_selector: "not disk_gb == 'big'" },
      'selector_invalid',
      'at character 5: The label "disk_gb" is a number',
    ],
    [
      { pop_selector: "region == 'mars'" },
      'no_matching_nodes',
      "No node matches region == 'mars'. Nodes have disk_gb (0, 10, 20, 30, 40), pop_id (cdg, fra, kix, lhr, nrt), region (asia, europe)",
    ],
    [{ target_pop: ['nrt', 'frq'] }, 'no_matching_nodes', 'No node stands in the pop frq; did you mean fra?'],
    [
      { target_pop: ['fra'], pop_selector: "region == 'asia'" },
      'no_matching_nodes',
      "No node matches pop fra and region == 'asia'",
    ],
  ])('%j is refused, and a live function stays as it is', async (target, code, message) => {
    await deploy('1.0.0');
    const refused = await deploy('1.1.0', target);
    expect([refused.status >= 400, refused.code]).toEqual([true, code]);
    expect(refused.string('error.message')).toContain(message);
    expect(await versions()).toEqual(POPS.map(() => '1.0.0'));
  });

  test('is taken with allow_empty, for nodes that join later', async () => {
    const made = await deploy('1.1.0', { pop_selector: "zone == 'b'", allow_empty: true });
    expect(made.body).toMatchObject({ nodes: [], state: 'waiting' });
    const late = await fleet.join('late', { labels: { zone: 'b' } });
    expect((await fleet.beat(late)).at('desired.functions.0.version')).toBe('1.1.0');
  });

  test('is every target where no node has joined, with a sentence that says what to do', async () => {
    for (const pop of POPS) await fleet.call('DELETE', `/api/v1/nodes/${pop}-1`);
    const refused = await deploy('1.0.0');
    expect(refused.code).toBe('no_matching_nodes');
    expect(refused.string('error.message')).toContain('No node has joined yet');
    expect((await deploy('1.0.0', { allow_empty: true })).status).toBe(201);
    expect((await deploy('1.1.0')).code).toBe('no_matching_nodes');
  });

  test('does not stand in the way of a rollback', async () => {
    await deploy('1.0.0', { target_pop: ['nrt'] });
    await deploy('1.1.0', { target_pop: ['nrt'] });
    await fleet.call('DELETE', '/api/v1/nodes/nrt-1');
    expect((await rollBack()).status).toBe(201);
  });
});

describe('A plan', () => {
  const plan = (json: Record<string, unknown>) => post('/deployments/plan', json);

  test('lists the nodes added, removed and unchanged per version, and changes nothing', async () => {
    await deploy('1.0.0', { pop_selector: "region == 'europe'" });
    const at = await revisions();
    const planned = await plan({ function_id: id, version: '1.1.0', target_pop: ['fra', 'nrt'] });
    expect(planned.status).toBe(200);
    expect(planned.at('versions')).toEqual([
      { version: '1.0.0', added: [], removed: ['fra-1'], unchanged: ['cdg-1', 'lhr-1'] },
      { version: '1.1.0', added: ['fra-1', 'nrt-1'], removed: [], unchanged: [] },
    ]);
    expect(planned.at('ends')).toEqual([]);
    const every = await deploy('1.1.0', { pop_selector: 'true', dry_run: true });
    expect([every.status, every.at('ends.0.version')]).toEqual([200, '1.0.0']);
    expect(every.at('versions.0')).toEqual({
      version: '1.0.0',
      added: [],
      removed: ['cdg-1', 'fra-1', 'lhr-1'],
      unchanged: [],
    });
    expect(await revisions()).toEqual(at);
    expect((await fleet.call('GET', `/api/v1/functions/${id}/deployments`)).at('items.1')).toBeUndefined();
  });

  test('is what the deploy then does', async () => {
    await deploy('1.0.0');
    const target = { pop_selector: "region == 'asia' and not disk_gb > 5" };
    const planned = await plan({ function_id: id, version: '1.2.0', ...target });
    await deploy('1.2.0', target);
    const { nodes: shown } = planned.body as { nodes: { node_id: string; after: string }[] };
    const told = new Map(shown.map(({ node_id, after }) => [node_id, after]));
    expect(POPS.map((pop) => told.get(`${pop}-1`))).toEqual((await versions()).map(String));
  });

  test('takes a version and a function that are still to be made, and refuses what a deploy refuses', async () => {
    const planned = await plan({ version: '1.0.0', target_pop: ['nrt'] });
    expect(planned.at('versions')).toEqual([
      { version: '1.0.0', added: ['nrt-1'], removed: [], unchanged: [] },
    ]);
    expect((await plan({ function_id: id, version: '9.0.0' })).status).toBe(200);
    expect((await plan({ version: '1.0.0', target_pop: ['nrtt'] })).code).toBe('no_matching_nodes');
    expect((await plan({ version: '1.0.0', pop_selector: 'regio == 1' })).code).toBe('selector_invalid');
  });
});

describe('A rollback', () => {
  test('names what it leaves, moves that target alone, and does nothing when it is repeated', async () => {
    await deploy('1.0.0');
    await deploy('1.1.0', { target_pop: ['nrt'] });
    const back = await rollBack();
    expect(back.status).toBe(201);
    expect(back.at('deployment')).toMatchObject({ version: '1.0.0', from: '1.1.0', target_pop: ['nrt'] });
    const at = await revisions();
    for (const json of [{}, { from: '1.1.0' }, { version: '1.0.0' }]) {
      const again = await rollBack(json);
      expect([again.status, again.at('changed')]).toEqual([200, false]);
      expect(again.at('deployment.id')).toBe(back.at('deployment.id'));
    }
    expect(await versions()).toEqual(POPS.map(() => '1.0.0'));
    expect(await revisions()).toEqual(at);
  });

  test('goes back per target after a deploy that moved them all', async () => {
    await deploy('1.0.0');
    await deploy('1.1.0', { target_pop: ['nrt'] });
    await deploy('1.2.0');
    const back = await rollBack({ from: '1.2.0' });
    expect([back.at('deployments.0.from'), back.at('deployments.1.from')]).toEqual(['1.2.0', '1.2.0']);
    expect(await versions()).toEqual(['1.1.0', '1.0.0', '1.0.0', '1.0.0', '1.0.0']);
  });

  test('goes further back only where what it leaves is named', async () => {
    for (const version of ['1.0.0', '1.1.0', '1.2.0']) await deploy(version);
    await rollBack();
    expect((await rollBack({ from: '1.1.0' })).at('deployment')).toMatchObject({
      version: '1.0.0',
      from: '1.1.0',
    });
    const nothing = await rollBack({ from: '1.0.0' });
    expect([nothing.status, nothing.code]).toEqual([409, 'nothing_to_roll_back']);
    expect((await rollBack({ from: '1.2.0' })).code).toBe('from_not_active');
    expect(await versions()).toEqual(POPS.map(() => '1.0.0'));
  });

  test('is refused for a version that was never there, or has no artifact', async () => {
    await deploy('1.0.0');
    expect((await rollBack()).code).toBe('nothing_to_roll_back');
    expect((await rollBack({ version: '7.0.0' })).code).toBe('version_not_found');
    await deploy('1.1.0');
    await fleet.call('DELETE', `/api/v1/functions/${id}/versions/1.0.0`);
    expect((await rollBack()).code).toBe('version_not_found');
    expect(await versions()).toEqual(POPS.map(() => '1.1.0'));
  });

  test('of one pop leaves the others where they are, and does nothing when it is repeated', async () => {
    await deploy('1.0.0');
    await deploy('1.1.0');
    const back = await rollBack({ target_pop: ['lhr'] });
    expect(back.at('deployment')).toMatchObject({ version: '1.0.0', from: '1.1.0', target_pop: ['lhr'] });
    expect(await versions()).toEqual(['1.1.0', '1.1.0', '1.1.0', '1.1.0', '1.0.0']);
    for (const json of [{}, { version: '1.0.0' }, { from: '1.1.0' }]) {
      const again = await rollBack({ target_pop: ['lhr'], ...json });
      expect([again.status, again.at('changed')]).toEqual([200, false]);
    }
    expect((await rollBack({ target_pop: ['cdg'], version: '1.2.0' })).status).toBe(201);
    expect(await versions()).toEqual(['1.1.0', '1.1.0', '1.1.0', '1.2.0', '1.0.0']);
    expect((await rollBack({ target_pop: ['lhx'] })).code).toBe('no_matching_nodes');
  });

  test('of a pop that does not have the function is refused', async () => {
    await deploy('1.0.0', { target_pop: ['nrt'] });
    const refused = await rollBack({ target_pop: ['lhr'], version: '1.1.0' });
    expect([refused.code, refused.string('error.message')]).toEqual([
      'not_deployed',
      'The function runs on no node of pop lhr: deploy it there first.',
    ]);
  });

  test('as a deploy with `from` moves only what runs that version', async () => {
    await deploy('1.0.0', { target_pop: ['nrt'] });
    await deploy('1.1.0', { target_pop: ['fra'] });
    expect((await deploy('1.2.0', { from: '1.1.0' })).status).toBe(201);
    const again = await deploy('1.2.0', { from: '1.1.0' });
    expect([again.status, again.at('changed')]).toEqual([200, false]);
    expect(await versions()).toEqual(['1.0.0', null, '1.2.0', null, null]);
  });
});

test('A function has a bounded number of active deployments', async () => {
  for (let at = 0; at < CONTROL_BOUNDS.activeDeploymentsMax; at += 1) {
    const made = await deploy('1.0.0', { pop_selector: `disk_gb < ${at + 1}` });
    expect(made.status).toBe(201);
  }
  const refused = await deploy('1.0.0', { target_pop: ['nrt'] });
  expect([refused.status, refused.code]).toEqual([409, 'limit_reached']);
  expect((await deploy('1.1.0', { pop_selector: 'disk_gb < 1' })).status).toBe(201);
  expect((await deploy('1.1.0', { pop_selector: 'true' })).status).toBe(201);
});
