// `edge deploy` and the other client commands against a control plane in this process.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Deployed,
  deploy,
  type DeploySettings,
  NO_DEPLOY_SETTINGS,
  printDeployed,
} from '../../../src/cli/deployments/deploy.ts';
import * as deployments from '../../../src/cli/deployments/deployments.ts';
import { listAll, listVersions } from '../../../src/cli/lookup.ts';
import * as manage from '../../../src/cli/manage.ts';
import * as nodes from '../../../src/cli/nodes.ts';
import { Route } from '../../../src/model/route.ts';
import { openTestControl, type TestControl } from '../control_plane.ts';

const FIXTURES = join(import.meta.dir, '../../../fixtures/hello');
const first = new Uint8Array(readFileSync(join(FIXTURES, 'hello-c.wasm')));
const second = new Uint8Array(readFileSync(join(FIXTURES, 'hello-v2.wasm')));

const HELLO: DeploySettings = {
  ...NO_DEPLOY_SETTINGS,
  name: 'hello',
  route: '/hello',
  waitSecs: 1,
  allowEmpty: true,
};

let control: TestControl;

beforeEach(async () => {
  control = await openTestControl();
});

afterEach(() => control.close());

const run = (bytes: Uint8Array, settings: Partial<DeploySettings> = {}): Promise<Deployed> =>
  deploy({ file: '/some/Hello World.wasm', bytes }, { ...HELLO, ...settings }, control);

const versionsOf = async (id: string): Promise<string[]> =>
  (await listVersions(control.api, id)).map((one) => `${one.version} ${one.status}`);

describe('A file that is deployed for the first time', () => {
  test('becomes a function, version, route and deployment, and waits for no node where none is', async () => {
    const deployed = await run(first);
    expect(deployed).toMatchObject({ name: 'hello', version: '1.0.0', is_new_version: true, nodes: [] });
    expect(deployed.sha256).toBe(new Bun.CryptoHasher('sha256').update(first).digest('hex'));
    expect(deployed.url).toBe('http://edge:3000/hello');
    expect(control.calls).toEqual([
      'GET /api/v1/functions',
      'POST /api/v1/deployments/plan',
      'POST /api/v1/functions',
      expect.stringMatching(/^PUT /),
      'GET /api/v1/routes',
      'POST /api/v1/routes',
      'POST /api/v1/functions/fn_ID/deploy',
    ]);
  });

  test('is named after the file unless a name is given', async () => {
    expect((await run(first, { name: null })).name).toBe('hello-world');
  });

  test('is printed with its id, version, SHA-256 and URL', async () => {
    const deployed = await run(first);
    printDeployed(control.terminal, deployed);
    const text = control.terminal.out.join('');
    for (const part of ['hello 1.0.0', deployed.function_id, deployed.sha256, deployed.url])
      expect(text).toContain(String(part));
    expect(control.terminal.err.join('')).toContain('no node matches yet');
  });

  test('has the host of its route in the URL', async () => {
    expect((await run(first, { host: 'api.example.com' })).url).toBe('http://api.example.com:3000/hello');
    expect((await run(first, { host: '*.example.com' })).url).toBe('http://edge:3000/hello');
  });

  test('is refused before any request when it is larger than an artifact may be', async () => {
    await expect(run(new Uint8Array(32 * 1024 * 1024 + 1))).rejects.toMatchObject({
      code: 'artifact_too_large',
    });
    expect(control.calls).toEqual([]);
  });
});

describe('A file that is deployed again', () => {
  test('gets no new version and no second route when nothing has changed', async () => {
    const before = await run(first);
    const deployed = await run(first);
    expect(deployed).toMatchObject({ version: '1.0.0', is_new_version: false });
    expect(await versionsOf(before.function_id)).toEqual(['1.0.0 published']);
    expect(await listAll(control.api, '/routes', Route)).toHaveLength(1);
  });

  test.each([
    ['other bytes', second, {}],
    ['another setting', first, { memoryPages: 32 }],
    ['another environment', first, { env: { A: 'b' } }],
    ['another version number', first, { version: '2.0.0' }],
  ])('gets a new version for %s', async (_, bytes, settings) => {
    const { function_id } = await run(first);
    const deployed = await run(bytes, settings);
    expect(deployed.is_new_version).toBe(true);
    expect(await versionsOf(function_id)).toHaveLength(2);
    expect(await run(bytes, settings)).toMatchObject({ version: deployed.version, is_new_version: false });
  });

  test('completes the pending version after a refused upload', async () => {
    const refused = run(new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]));
    await expect(refused).rejects.toMatchObject({ code: 'bad_magic' });
    const { function_id, version } = await run(first);
    expect(version).toBe('1.0.0');
    expect(await versionsOf(function_id)).toEqual(['1.0.0 published']);
  });

  test('is refused with version_exists when its number belongs to other bytes', async () => {
    await run(first, { version: '1.0.0' });
    await expect(run(second, { version: '1.0.0' })).rejects.toMatchObject({ code: 'version_exists' });
  });

  test('replaces the methods of its route when some are given, and keeps them otherwise', async () => {
    const methods = async (): Promise<string[][]> =>
      (await listAll(control.api, '/routes', Route)).map((one) => one.methods);
    await run(first, { method: ['GET'] });
    await run(first);
    expect(await methods()).toEqual([['GET']]);
    await run(first, { method: ['PUT', 'GET'] });
    expect(await methods()).toEqual([['GET', 'PUT']]);
  });

  test('is refused with a hint at the routes when another function has its route', async () => {
    await run(first);
    const other = run(first, { name: 'other' });
    await expect(other).rejects.toMatchObject({
      code: 'route_taken',
      hint: expect.stringContaining('edge routes'),
    });
  });
});

describe('The other commands', () => {
  const input = (more: Partial<manage.ManageInput> = {}): manage.ManageInput => {
    const { api, terminal, clock } = control;
    return {
      api,
      terminal,
      clock,
      json: false,
      project: null,
      name: 'hello',
      version: null,
      words: [],
      from: null,
      label: {},
      selector: null,
      pop: [],
      tokenNode: null,
      waitSecs: 1,
      ...more,
    };
  };
  const printed = (): string => control.terminal.out.splice(0).join('');

  test('list, show, roll back, undeploy and delete a function', async () => {
    await run(first);
    await run(second);
    await manage.showFunctions(input());
    expect(printed()).toMatch(/^NAME +LATEST +PROJECT +ID\nhello +1\.0\.1 +default +fn_/);
    await manage.showVersions(input());
    expect(
      printed()
        .split('\n')
        .map((line) => line.split(' ')[0]),
    ).toEqual(['VERSION', '1.0.1', '1.0.0', '']);
    await manage.inspect(input({ version: '1.0.0' }));
    expect(printed()).toContain('memory_pages');
    await manage.showRoutes(input({ name: '' }));
    expect(printed()).toMatch(/any +\* +\/hello +hello +0/);
    await deployments.rollBack(input());
    expect(printed()).toContain('back at 1.0.0');
    await deployments.showStatus(input({ json: true }));
    expect(JSON.parse(printed())).toMatchObject({
      deployment: { version: '1.0.0', from: '1.0.1' },
      nodes: [],
    });
    await deployments.rollBack(input());
    expect(printed()).toContain('already back at 1.0.0');
    await expect(manage.deleteFunction(input())).rejects.toMatchObject({ code: 'function_in_use' });
    await deployments.undeploy(input());
    await manage.deleteFunction(input());
    await manage.showFunctions(input({ json: true }));
    expect(printed().trim().split('\n').at(-1)).toBe('[]');
  });

  test('fail with function_not_found for an unknown name', async () => {
    for (const command of [
      manage.showVersions,
      manage.inspect,
      deployments.showStatus,
      deployments.rollBack,
      deployments.undeploy,
    ]) {
      await expect(command(input({ name: 'nope' }))).rejects.toMatchObject({ code: 'function_not_found' });
    }
  });

  test('print a join token alone on stdout, so that a shell can read it', async () => {
    await nodes.makeJoinToken(input());
    expect(printed()).toMatch(/^edge_join_\S+\n$/);
    await nodes.showNodes(input({ json: true }));
    expect(printed()).toBe('[]\n');
  });
});
