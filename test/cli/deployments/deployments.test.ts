// The commands about targets, deployments and labels, against a control plane in this process.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Deployed,
  deploy,
  type DeploySettings,
  NO_DEPLOY_SETTINGS,
  planDeploy,
  printDeployed,
} from '../../../src/cli/deployments/deploy.ts';
import * as deployments from '../../../src/cli/deployments/deployments.ts';
import { listAll, listVersions } from '../../../src/cli/lookup.ts';
import type { ManageInput } from '../../../src/cli/manage.ts';
import * as nodes from '../../../src/cli/nodes.ts';
import { JoinTokenAnswer } from '../../../src/model/api.ts';
import { EdgeFunction } from '../../../src/model/function.ts';
import { JoinAnswer } from '../../../src/model/protocol.ts';
import { signedJoin } from '../../control/harness.ts';
import { openTestControl, type TestControl } from '../control_plane.ts';

const FIXTURES = join(import.meta.dir, '../../../fixtures/hello');
const first = new Uint8Array(readFileSync(join(FIXTURES, 'hello-c.wasm')));
const second = new Uint8Array(readFileSync(join(FIXTURES, 'hello-v2.wasm')));

let control: TestControl;

beforeEach(async () => {
  control = await openTestControl();
  for (const pop of ['nrt', 'fra']) await addNode(pop);
});
afterEach(() => control.close());

/** A node that has joined with `region`, and says something of itself that no shell may run. */
async function addNode(pop: string): Promise<void> {
  const body = { labels: { region: pop === 'nrt' ? 'asia' : 'europe' } };
  const { join_token } = await control.api.post('/nodes/join-tokens', body, JoinTokenAnswer);
  const request = { node_id: `${pop}-1`, pop_id: pop, labels: { zone: '$(reboot)' }, edge_version: '0.1.0' };
  await control.withToken(join_token).post('/nodes/join', signedJoin(join_token, request), JoinAnswer);
}

const run = (bytes: Uint8Array, settings: Partial<DeploySettings> = {}): Promise<Deployed> =>
  deploy({ file: 'hello.wasm', bytes }, { ...NO_DEPLOY_SETTINGS, name: 'hello', ...settings }, control);

const input = (name = '', version: string | null = null, more: Partial<ManageInput> = {}): ManageInput => {
  const { api, terminal, clock } = control;
  const given = {
    words: [],
    from: null,
    label: {},
    selector: null,
    pop: [],
    tokenNode: null,
    waitSecs: 0,
    ...more,
  };
  return { api, terminal, clock, json: false, project: null, name, version, ...given };
};
const printed = (): string => control.terminal.out.splice(0).join('');
const noted = (): string => control.terminal.err.splice(0).join('');

describe('edge deploy', () => {
  test('names its target, and what it has ended elsewhere', async () => {
    await run(first, { pop: ['nrt'] });
    const deployed = await run(second, { everywhere: true });
    printDeployed(control.terminal, deployed);
    expect(printed()).toContain('  target  every node\n  ended   1.0.0 on pop nrt\n  nodes   0 of 2 ready\n');
    expect(deployed).toMatchObject({ ended: [{ version: '1.0.0', target: 'pop nrt' }], state: 'waiting' });
    expect((await run(second)).ended).toEqual([]);
  });

  test('names the nodes that are offline', async () => {
    const deployed = await run(first);
    const held = deployed.nodes.map((node) => ({
      ...node,
      node_status: node.pop_id === 'nrt' ? 'offline' : 'online',
    }));
    printDeployed(control.terminal, { ...deployed, nodes: held });
    expect(noted()).toBe('edge: offline, and gets the version when it is back: nrt-1\n');
  });

  test('is refused before anything is made where no node matches', async () => {
    await expect(run(first, { pop: ['nrtt'] })).rejects.toMatchObject({
      code: 'no_matching_nodes',
      message: expect.stringContaining('did you mean nrt?'),
    });
    const wrong = run(first, { selector: "regon == 'asia'" });
    await expect(wrong).rejects.toMatchObject({
      code: 'selector_invalid',
      message: 'The selector is wrong at character 1: No node has the label "regon"; did you mean region?',
    });
    expect(await listAll(control.api, '/functions', EdgeFunction)).toEqual([]);
    await expect(run(first, { everywhere: true, pop: ['nrt'] })).rejects.toMatchObject({ code: 'usage' });
  });

  test('never chooses a pre-release of the same bytes unless its number is given', async () => {
    await run(first);
    const candidate = await run(second, { version: '2.0.0-rc.1' });
    expect([candidate.version, candidate.is_new_version]).toEqual(['2.0.0-rc.1', true]);
    expect((await run(second, { version: '2.0.0-rc.1' })).is_new_version).toBe(false);
    expect((await run(second)).version).toBe('1.0.1');
  });

  test('with --plan sends nothing but questions, and shows what would move', async () => {
    const { function_id } = await run(first);
    control.calls.length = 0;
    const settings = { ...NO_DEPLOY_SETTINGS, name: 'hello', selector: "region == 'asia'" };
    const planned = await planDeploy({ file: 'hello.wasm', bytes: second }, settings, control);
    expect(control.calls.filter((call) => !call.startsWith('GET'))).toEqual([
      'POST /api/v1/deployments/plan',
    ]);
    deployments.printPlan(control.terminal, planned);
    const text = printed();
    expect(text).toContain("hello 1.0.1 (not uploaded yet) on region == 'asia'\n");
    expect(text).toMatch(/1\.0\.0 +0 +1 +1\n1\.0\.1 +1 +0 +0\n/);
    expect(text).toMatch(/nrt-1 +nrt +1\.0\.0 +1\.0\.1\n$/);
    expect(noted()).toContain('nothing has changed');
    expect(await listVersions(control.api, function_id)).toHaveLength(1);
  });

  test('with --plan also works for a function that does not exist yet', async () => {
    const settings = { ...NO_DEPLOY_SETTINGS, name: 'new', pop: ['fra'] };
    deployments.printPlan(
      control.terminal,
      await planDeploy({ file: 'new.wasm', bytes: first }, settings, control),
    );
    expect(printed()).toMatch(
      /^new 1\.0\.0 \(not uploaded yet\) on pop fra\n[^]*fra-1 +fra +none +1\.0\.0\n$/,
    );
  });
});

describe('edge deployments', () => {
  test('lists what is active of all functions, and the history of one', async () => {
    await run(first);
    await run(second, { pop: ['nrt'] });
    await run(first, { pop: ['nrt'] });
    await deployments.manageDeployments(input());
    expect(printed()).toMatch(
      /^ID .*\ndep_\S+ +hello +1\.0\.2 +pop nrt +0 of 1 +waiting .*\ndep_\S+ +hello +1\.0\.0 +every node +0 of 1 +waiting .*\n$/,
    );
    await deployments.manageDeployments(input('hello'));
    expect(printed()).toMatch(/hello +1\.0\.1 +pop nrt +superseded/);
    await deployments.manageDeployments(input('', null, { json: true }));
    expect(JSON.parse(printed())).toMatchObject([{ state: 'waiting' }, { state: 'waiting' }]);
  });

  test('shows one, and ends one: the next that matches goes on', async () => {
    await run(first);
    const { deployment_id: id } = await run(second, { pop: ['nrt'] });
    await deployments.manageDeployments(input('show', id));
    expect(printed()).toMatch(/^hello 1\.0\.1 on pop nrt: waiting, 0 of 1 ready\n[^]*previous +1\.0\.0\n/);
    await deployments.manageDeployments(input(id));
    expect(printed()).toContain('nrt-1');
    await deployments.manageDeployments(input('end', id));
    expect(printed()).toBe('hello 1.0.1 on pop nrt is ended\n  1.0.0 goes on, on every node\n');
    await deployments.undeploy(input('hello'));
    printed();
    await deployments.manageDeployments(input());
    expect(noted()).toContain('Nothing is deployed');
  });

  test.each([
    [['end', null], 'expected the id of a deployment after end'],
    [['ennd', 'dep_1'], 'expected show or end before an id, not "ennd"'],
  ] as const)('%j is a usage error', async ([name, id], message) => {
    const wrong = deployments.manageDeployments(input(name, id));
    await expect(wrong).rejects.toMatchObject({ code: 'usage', message });
  });
});

describe('edge rollback', () => {
  test('says what it leaves and where; the second one says that nothing changes', async () => {
    await run(first);
    await run(second, { pop: ['nrt'] });
    await deployments.rollBack(input('hello'));
    expect(printed()).toBe('hello is back at 1.0.0 on pop nrt, from 1.0.1\n  0 of 1 nodes ready\n');
    await deployments.rollBack(input('hello'));
    expect(printed()).toContain('hello is already back at 1.0.0 on pop nrt, from 1.0.1');
    expect(noted()).toContain('nothing has changed');
    await deployments.rollBack(input('hello', '1.0.1', { pop: ['fra'] }));
    expect(printed()).toContain('hello is back at 1.0.1 on pop fra, from 1.0.0');
    await expect(deployments.rollBack(input('hello', null, { from: '3.0.0' }))).rejects.toMatchObject({
      code: 'from_not_active',
    });
  });
});

describe('Labels', () => {
  test('of a node are set and removed by name', async () => {
    const words = ['disk_gb=80', 'spare=true,region=tokyo'];
    await nodes.changeNode(input('label', 'nrt-1', { words }));
    expect(printed()).toBe('nrt-1 has region=tokyo,disk_gb=80,spare=true\n');
    await nodes.changeNode(input('label', 'nrt-1', { words: ['spare-', 'region-', 'disk_gb-'] }));
    expect(printed()).toBe('nrt-1 has no labels\n');
  });

  test.each([
    ['lable', 'nrt-1', ['a=1']],
    ['label', null, []],
    ['label', 'nrt-1', []],
    ['label', 'nrt-1', ['region']],
    ['label', 'nrt-1', ['=tokyo']],
  ])('%s %p %j is a usage error', async (action, id, words) => {
    await expect(nodes.changeNode(input(action, id, { words }))).rejects.toMatchObject({ code: 'usage' });
  });

  test('that a node gives itself are remarked upon by name, never with a value for a shell', async () => {
    await nodes.showNodes(input());
    expect(printed()).toMatch(/nrt-1 +nrt +online +region=asia /);
    const remark = 'edge: what nrt-1 says of its zone selects nothing: edge node label nrt-1 NAME=VALUE\n';
    expect(noted()).toContain(remark);
  });

  test('and a pop go into a join token', async () => {
    await nodes.makeJoinToken(
      input('', null, { label: { region: 'asia' }, pop: ['kix'], tokenNode: 'kix-1' }),
    );
    const joinToken = printed().trim();
    const token = control.withToken(joinToken);
    const about = { node_id: 'kix-1', pop_id: 'nrt', labels: {}, edge_version: '0.1.0' };
    const request = signedJoin(joinToken, about);
    await expect(token.post('/nodes/join', request, JoinAnswer)).rejects.toMatchObject({
      code: 'join_token_invalid',
    });
    await token.post('/nodes/join', { ...request, pop_id: 'kix' }, JoinAnswer);
    await nodes.showNodes(input());
    expect(printed()).toMatch(/kix-1 +kix +online +region=asia /);
    await expect(nodes.makeJoinToken(input('', null, { pop: ['a', 'b'] }))).rejects.toMatchObject({
      code: 'usage',
    });
  });
});
