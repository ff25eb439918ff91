// Waiting for the nodes of a deployment: until they are ready, fail, are superseded or take too long.
import { describe, expect, test } from 'bun:test';
import { createManualClock } from '../../../src/base/clock.ts';
import type { Api } from '../../../src/cli/api.ts';
import { waitForNodes, type Waited } from '../../../src/cli/deployments/wait.ts';
import type {
  DeployAnswer,
  Deployment,
  DeploymentProgress,
  NodeProgress,
} from '../../../src/model/deployment.ts';
import { createRecorder } from '../control_plane.ts';

const deployment: Deployment = {
  id: 'dep_1',
  function_id: 'fn_1',
  version: '1.0.0',
  previous_version: null,
  from: null,
  pop_selector: null,
  target_pop: null,
  status: 'active',
  revision: 3,
  created_at: '2026-01-01T00:00:00.000Z',
};

const node = (state: NodeProgress['state'], more: Partial<NodeProgress> = {}): NodeProgress => {
  return {
    node_id: 'n1',
    pop_id: 'p1',
    node_status: 'online',
    state,
    error: null,
    interpreted: null,
    ...more,
  };
};

function progress(nodes: NodeProgress[], status: Deployment['status'] = 'active'): DeploymentProgress {
  const present = nodes.filter((one) => one.node_status !== 'offline');
  const complete = present.length > 0 && present.every((one) => one.state === 'cached');
  const state = complete ? 'done' : 'waiting';
  const figures = { matched_nodes: nodes.length, reason: null };
  return { deployment: { ...deployment, status }, nodes, complete, state, ...figures };
}

/** Waits from the first of `answers`; each request takes 400 ms and gets the next one, or the last again. */
async function wait(
  answers: DeploymentProgress[],
  waitMs = 1_000,
  made: Deployment[] = [deployment],
): Promise<{ end: Waited; requests: string[] }> {
  const [first, ...later] = answers;
  if (first === undefined) throw new Error('a deployment begins with a progress');
  const begun: DeployAnswer = { ...first, deployments: made, changed: true };
  const clock = createManualClock();
  const requests: string[] = [];
  const get = async (path: string): Promise<DeploymentProgress> => {
    requests.push(path);
    await clock.advance(400);
    return later.shift() ?? answers.at(-1) ?? first;
  };
  const api: Pick<Api, 'get'> = { get: get as Api['get'] };
  const tools = { api: api as Api, terminal: createRecorder(clock), clock };
  return { end: await waitForNodes({ ...tools, progress: begun, waitMs }), requests };
}

describe('Waiting', () => {
  test('ends when every node is ready', async () => {
    const answers = [progress([node('pending')]), progress([node('loading')]), progress([node('cached')])];
    const { end, requests } = await wait(answers);
    expect(end.state).toBe('done');
    expect(requests).toEqual(['/deployments/dep_1?wait_ms=1000', '/deployments/dep_1?wait_ms=600']);
  });

  test.each([
    ['every node is ready already', [node('cached')], 1_000],
    ['no node matches', [], 1_000],
    ['the time to wait is 0', [node('pending')], 0],
  ])('sends no request when %s', async (_, nodes, waitMs) => {
    expect((await wait([progress(nodes)], waitMs)).requests).toEqual([]);
  });

  test('fails with the reason of a node that reports an error', async () => {
    const failed = progress([node('cached'), node('error', { node_id: 'n2', error: 'sha256 differs' })]);
    await expect(wait([progress([node('pending')]), failed])).rejects.toMatchObject({
      code: 'deploy_failed',
      message: 'Node n2: sha256 differs',
    });
  });

  test('fails without a retry in sight when a node says that the version fails each time', async () => {
    const failed = progress([node('error'), node('failed', { node_id: 'n2', error: 'it traps' })]);
    await expect(wait([failed])).rejects.toMatchObject({
      code: 'deploy_failed',
      message: 'Node n2: it traps',
      hint: expect.stringContaining('does not try again'),
    });
  });

  test('fails at once when every matching node is offline: the deployment is not done', async () => {
    const offline = progress([node('pending', { node_status: 'offline' })]);
    await expect(wait([offline])).rejects.toMatchObject({ code: 'deploy_waiting' });
  });

  test('does not wait for the nodes of one that are all offline where those of another are ready', async () => {
    const made = [deployment, { ...deployment, id: 'dep_2' }];
    const offline = progress([node('pending', { node_id: 'n2', node_status: 'offline' })]);
    const { end } = await wait(
      [progress([node('pending')]), progress([node('cached')]), offline],
      1_000,
      made,
    );
    expect(end.state).toBe('done');
  });

  test('goes on until each of several deployments is ready; one without nodes counts for nothing', async () => {
    const made = [deployment, { ...deployment, id: 'dep_2' }, { ...deployment, id: 'dep_3' }];
    const [pending, cached] = [progress([node('pending')]), progress([node('cached')])];
    const { end, requests } = await wait(
      [pending, cached, pending, progress([]), cached, cached, progress([])],
      5_000,
      made,
    );
    expect([end.state, end.nodes.length]).toEqual(['done', 2]);
    expect(requests.slice(0, 3)).toEqual([
      '/deployments/dep_1?wait_ms=1000',
      '/deployments/dep_2?wait_ms=1000',
      '/deployments/dep_3',
    ]);
  });

  test('fails when another deployment replaces this one', async () => {
    const answers = [progress([node('pending')]), progress([node('pending')], 'superseded')];
    await expect(wait(answers)).rejects.toMatchObject({ code: 'deploy_superseded' });
  });

  test('fails with the nodes that are not ready when the time is over', async () => {
    const pending = progress([node('loading'), node('cached', { node_id: 'n2' })]);
    await expect(wait([pending])).rejects.toMatchObject({
      code: 'deploy_timeout',
      message: 'Not every node is ready yet: n1 is loading.',
    });
  });
});
