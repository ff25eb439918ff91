// An edge or its control plane that dies in the middle of a join: the same command joins again.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Directory, freePort, type Running, start, temporaryDirectory, until } from '../harness.ts';
import { createPlane, type Plane, ROUNDS } from './plane.ts';

const TEST_MS = 60_000 * Math.max(1, ROUNDS / 4);
const rounds = Array.from({ length: ROUNDS }, (_, round) => round + 1);

let directory: Directory;
let plane: Plane;
let edges: Running[] = [];

beforeAll(async () => {
  directory = temporaryDirectory();
  plane = await createPlane(directory.path);
  await plane.open();
}, TEST_MS);

afterAll(async () => {
  for (const edge of edges) await edge.close();
  await plane.close();
  directory[Symbol.dispose]();
}, TEST_MS);

async function startEdge(
  nodeId: string,
  joinToken: string,
  env: Record<string, string> = {},
): Promise<Running> {
  const dir = join(directory.path, nodeId);
  const args = ['--mode=edge', `--cp-url=${plane.url}`, `--node-id=${nodeId}`, `--join-token=${joinToken}`];
  args.push(`--data-dir=${dir}`, `--cache-dir=${dir}/cache`, '--pool-workers-min=0');
  args.push(`--listen=${await freePort()}`, `--metrics-listen=${await freePort()}`);
  const edge = start(args, { env });
  edges.push(edge);
  return edge;
}

async function newJoinToken(): Promise<string> {
  const { json } = await plane.send('POST', '/nodes/join-tokens', { body: {} });
  return (json as { join_token: string }).join_token;
}

const heardFrom = (nodeId: string): Promise<unknown> =>
  until(`${nodeId} has sent a heartbeat`, async () => {
    const { json } = await plane.send('GET', `/nodes/${nodeId}`);
    return (json as { last_heartbeat_at?: string | null }).last_heartbeat_at;
  });

async function end(edge: Running): Promise<void> {
  await edge.close();
  edges = edges.filter((one) => one !== edge);
}

describe('A join', () => {
  test.each(
    ['mutation_done', 'mutation_committed'].flatMap((place) => rounds.map((round) => [place, round])),
  )(
    'goes on after the control plane was killed at %s (round %p)',
    async (place, round) => {
      const nodeId = `${place}-${round}`;
      const token = await newJoinToken();
      await plane.close();
      await plane.open(`${place}=kill`);
      const edge = await startEdge(nodeId, token);
      await plane.reopenAfterDeath();
      await heardFrom(nodeId);
      await end(edge);
    },
    TEST_MS,
  );

  test.each(rounds)(
    'goes on after the edge was killed with the answer in its hand (round %p)',
    async (round) => {
      const nodeId = `killed-${round}`;
      const token = await newJoinToken();
      const first = await startEdge(nodeId, token, { EDGE_FAILPOINTS: 'join_answered=kill' });
      await first.exited;
      expect(existsSync(join(directory.path, nodeId, 'node.json'))).toBe(false);
      const edge = await startEdge(nodeId, token);
      await heardFrom(nodeId);
      await end(edge);
    },
    TEST_MS,
  );

  test(
    'with a token that another node has used ends with a sentence and code 1',
    async () => {
      const token = await newJoinToken();
      const first = await startEdge('first', token);
      await heardFrom('first');
      const second = await startEdge('second', token);
      expect(await second.exited).toBe(1);
      expect(second.output()).toContain('edge: join_refused: The control plane does not let this node join.');
      expect(second.output()).toContain('edge join-token');
      await end(first);
    },
    TEST_MS,
  );
});
