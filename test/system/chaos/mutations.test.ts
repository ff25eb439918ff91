// A control plane that dies or loses its disk in the middle of a mutation: done once, or not at all.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { type Directory, fixture, temporaryDirectory } from '../harness.ts';
import { createPlane, EIO, ENOSPC, type Plane, type Reply, ROUNDS } from './plane.ts';

const TEST_MS = 60_000 * Math.max(1, ROUNDS / 4);
const hello = readFileSync(fixture('hello/hello-c.wasm'));
const helloAgain = readFileSync(fixture('hello/hello-v2.wasm'));
/** A function, its artifact, its route, its deployment. */
const MUTATIONS_OF_DEPLOY = 4;
const rounds = Array.from({ length: ROUNDS }, (_, round) => round + 1);

let directory: Directory;
let plane: Plane;
let functionId = '';

beforeAll(async () => {
  directory = temporaryDirectory();
  plane = await createPlane(directory.path);
  await plane.open();
  const made = await plane.send('POST', '/functions', { body: { name: 'hello' } });
  functionId = (made.json as { function: { id: string } }).function.id;
  await plane.send('POST', `/functions/${functionId}/upload`, { body: hello });
  await plane.send('POST', `/functions/${functionId}/upload`, { body: helloAgain });
}, TEST_MS);

afterAll(async () => {
  await plane.close();
  directory[Symbol.dispose]();
}, TEST_MS);

type Item = { action: string; status: string; version: string; name: string };
async function items(path: string): Promise<Item[]> {
  return ((await plane.send('GET', path)).json as { items: Item[] }).items;
}
const countOf = async (action: string): Promise<number> =>
  (await items('/audit?limit=200')).filter((row) => row.action === action).length;
const activeVersion = async (): Promise<string | undefined> =>
  (await items(`/functions/${functionId}/deployments`)).find(({ status }) => status === 'active')?.version;

/** Sends one request to a control plane that dies of it, and returns the answer to its repetition. */
async function sendThroughDeath(method: string, path: string, key: string, body?: unknown): Promise<Reply> {
  const options = { key, ...(body === undefined ? {} : { body }) };
  const lost = await plane.send(method, path, options).then(
    () => false,
    () => true,
  );
  expect(lost).toBe(true);
  await plane.reopenAfterDeath();
  return plane.send(method, path, options);
}

describe.each(['mutation_done', 'mutation_committed'])('A kill at %s', (place) => {
  test.each(rounds)(
    'lets `edge rollback` and `edge deploy` end with what happened (round %p)',
    async () => {
      const args = ['deploy', fixture('hello/hello-v2.wasm'), '--name', 'hello', '--allow-empty'];
      const deployed = await plane.cli(args);
      expect([deployed.code, await activeVersion()]).toEqual([0, '1.0.1']);
      const before = await countOf('deployment.roll_back');
      await plane.close();
      await plane.open(`${place}=kill`);
      const [done] = await Promise.all([
        plane.cli(['rollback', 'hello', '1.0.0', '--wait-secs', '0']),
        plane.reopenAfterDeath(),
      ]);
      expect([done.code, done.err]).toEqual([0, expect.not.stringContaining('edge: ')]);
      expect(await activeVersion()).toBe('1.0.0');
      expect(await countOf('deployment.roll_back')).toBe(before + 1);
    },
    TEST_MS,
  );

  test.each([1, 2, 3, 4, 5])(
    'number %p of `edge deploy` lets it end with what happened',
    async (mutation) => {
      const name = `${place.replaceAll('_', '-')}-at-${mutation}`;
      await plane.close();
      await plane.open(`${place}=kill@${mutation}`);
      const args = ['deploy', fixture('hello/hello-c.wasm'), '--name', name, '--route', `/${name}`];
      const deploying = plane.cli([...args, '--allow-empty', '--wait-secs', '0', '--json']);
      const ended = await Promise.race([deploying.then(() => 'deployed'), plane.running().exited]);
      if (ended !== 'deployed') await plane.reopenAfterDeath();
      const { code, out, err } = await deploying;
      expect([code, err]).toEqual([0, expect.not.stringContaining('edge: ')]);
      expect(ended === 'deployed').toBe(mutation > MUTATIONS_OF_DEPLOY);
      const { function_id: id, version } = JSON.parse(out) as { function_id: string; version: string };
      expect(version).toBe('1.0.0');
      expect((await items('/functions?limit=200')).filter((one) => one.name === name)).toHaveLength(1);
      expect(await items(`/functions/${id}/versions`)).toHaveLength(1);
      expect(await items(`/functions/${id}/deployments`)).toHaveLength(1);
    },
    TEST_MS,
  );

  test.each(rounds)(
    'leaves every keyed mutation done once (round %p)',
    async (round) => {
      const name = `${place.replaceAll('_', '-')}-${round}`;
      const isDone = place === 'mutation_committed';
      await plane.close();
      await plane.open(`${place}=kill`);
      const created = await sendThroughDeath('POST', '/functions', `c-${name}`, { name });
      expect([created.status, created.isReplay]).toEqual([201, isDone]);
      const { id } = (created.json as { function: { id: string } }).function;
      await plane.close();
      await plane.open(`${place}=kill`);
      const uploaded = await sendThroughDeath('POST', `/functions/${id}/upload`, `u-${name}`, hello);
      expect([uploaded.status, uploaded.isReplay]).toEqual([201, isDone]);
      await plane.close();
      await plane.open(`${place}=kill`);
      const removed = await sendThroughDeath('DELETE', `/functions/${id}`, `d-${name}`);
      expect([removed.status, removed.isReplay]).toEqual([204, isDone]);
      const conflict = await plane.send('POST', '/functions', { key: `c-${name}`, body: { name: 'other' } });
      expect((conflict.json as { error: { code: string } }).error.code).toBe('idempotency_conflict');
    },
    TEST_MS,
  );
});

test(
  'A kill between the artifact and its row leaves a pending version that the same upload publishes',
  async () => {
    const made = await plane.send('POST', '/functions', { body: { name: 'artifact' } });
    const { id } = (made.json as { function: { id: string } }).function;
    await plane.close();
    await plane.open('artifact_kept=kill');
    const uploaded = await sendThroughDeath('POST', `/functions/${id}/upload`, 'artifact', hello);
    expect([uploaded.status, uploaded.isReplay]).toEqual([201, false]);
    expect(await items(`/functions/${id}/versions`)).toMatchObject([
      { version: '1.0.0', status: 'published' },
    ]);
  },
  TEST_MS,
);

describe.each([
  ['full', ENOSPC, 507, 'storage_full'],
  ['broken', EIO, 500, 'internal'],
] as const)('A disk that is %s', (word, number, status, code) => {
  test.each(rounds)(
    'refuses a mutation whole, and takes the same one once it is back (round %p)',
    async (round) => {
      const name = `${word}-${round}`;
      const request = { key: `k-${name}`, body: { name } };
      const before = await countOf('function.create');
      plane.order(`${number} control.db`);
      const refused = await plane.send('POST', '/functions', request);
      plane.order(null);
      expect(refused.status).toBe(status);
      expect(refused.json).toMatchObject({ error: { code, retryable: true } });
      expect((await plane.send('GET', '/functions')).status).toBe(200);
      const done = await plane.send('POST', '/functions', request);
      expect([done.status, done.isReplay]).toEqual([201, false]);
      const again = await plane.send('POST', '/functions', request);
      expect([again.text, again.isReplay]).toEqual([done.text, true]);
      expect(await countOf('function.create')).toBe(before + 1);
    },
    TEST_MS,
  );
});

test.each(rounds)(
  'A flush that fails, and a kill after it, leave the refused mutation to the same request (round %p)',
  async (round) => {
    const name = `flush-${round}`;
    const request = { key: `k-${name}`, body: { name } };
    plane.order(`flush ${EIO} control.db`);
    const refused = await plane.send('POST', '/functions', request);
    expect(refused.status).toBe(500);
    plane.running().signal('SIGKILL');
    plane.order(null);
    await plane.reopenAfterDeath();
    const [done, again] = [
      await plane.send('POST', '/functions', request),
      await plane.send('POST', '/functions', request),
    ];
    expect([done.status, again.text, again.isReplay]).toEqual([201, done.text, true]);
    expect((await items(`/functions?name=${name}`)).length).toBe(1);
  },
  TEST_MS,
);
