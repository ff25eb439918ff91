// Waiting for the nodes of a deployment: done, failed, superseded, late.
import { describe, expect, test } from 'bun:test';
import { createManualClock } from '../../src/base/clock.ts';
import type { Api } from '../../src/cli/api.ts';
import { waitForNodes } from '../../src/cli/wait.ts';
import type { Deployment, DeploymentProgress, NodeProgress } from '../../src/model/deployment.ts';
import { createRecorder } from './control_plane.ts';

const deployment: Deployment = {
  id: 'dep_1',
  function_id: 'fn_1',
  version: '1.0.0',
  previous_version: null,
  pop_selector: null,
  target_pop: null,
  status: 'active',
  revision: 3,
  created_at: '2026-01-01T00:00:00.000Z',
};

const node = (state: NodeProgress['state'], more: Partial<NodeProgress> = {}): NodeProgress => {
  return { node_id: 'n1', pop_id: 'p1', node_status: 'online', state, error: null, ...more };
};

function progress(nodes: NodeProgress[], status: Deployment['status'] = 'active'): DeploymentProgress {
  const present = nodes.filter((one) => one.node_status !== 'offline');
  const complete = present.length > 0 && present.every((one) => one.state === 'cached');
  return { deployment: { ...deployment, status }, nodes, complete };
}

/** The first progress is that of the deploy; each look takes 400 ms. */
async function wait(
  looks: DeploymentProgress[],
  waitMs = 1_000,
): Promise<{ end: DeploymentProgress; asked: string[] }> {
  const [begun, ...later] = looks;
  if (begun === undefined) throw new Error('a deployment begins with a progress');
  const clock = createManualClock();
  const asked: string[] = [];
  const get = async (path: string): Promise<DeploymentProgress> => {
    asked.push(path);
    await clock.advance(400);
    return later.shift() ?? looks.at(-1) ?? begun;
  };
  const api: Pick<Api, 'get'> = { get: get as Api['get'] };
  const tools = { api: api as Api, terminal: createRecorder(clock), clock };
  return { end: await waitForNodes({ ...tools, progress: begun, waitMs }), asked };
}

describe('Waiting', () => {
  test('ends when every node has the version', async () => {
    const looks = [progress([node('pending')]), progress([node('loading')]), progress([node('cached')])];
    const { end, asked } = await wait(looks);
    expect(end.complete).toBe(true);
    expect(asked).toEqual(['/deployments/dep_1?wait_ms=1000', '/deployments/dep_1?wait_ms=600']);
  });

  test.each([
    ['every node has it already', [node('cached')], 1_000],
    ['no node matches', [], 1_000],
    ['every matching node is offline', [node('pending', { node_status: 'offline' })], 1_000],
    ['nobody wants to wait', [node('pending')], 0],
  ])('asks nothing when %s', async (_, nodes, waitMs) => {
    expect((await wait([progress(nodes)], waitMs)).asked).toEqual([]);
  });

  test("ends with a node's own sentence when it reports an error", async () => {
    const failed = progress([node('cached'), node('error', { node_id: 'n2', error: 'sha256 differs' })]);
    await expect(wait([progress([node('pending')]), failed])).rejects.toMatchObject({
      code: 'deploy_failed',
      message: 'Node n2: sha256 differs',
    });
  });

  test('ends when another deployment takes its place', async () => {
    const looks = [progress([node('pending')]), progress([node('pending')], 'superseded')];
    await expect(wait(looks)).rejects.toMatchObject({ code: 'deploy_superseded' });
  });

  test('ends with the nodes that are late when the time is over', async () => {
    const pending = progress([node('loading'), node('cached', { node_id: 'n2' })]);
    await expect(wait([pending])).rejects.toMatchObject({
      code: 'deploy_timeout',
      message: 'Not every node has the version yet: n1 is loading.',
    });
  });
});
