// Five pops, one edge process each: what deploys, typing errors, rollbacks and ends do to a live function.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Directory,
  type Finished,
  fixture,
  freePort,
  run,
  type Running,
  start,
  statusOf,
  temporaryDirectory,
  until,
  WAIT_MS,
} from './harness.ts';

const POPS = ['nrt', 'kix', 'fra', 'cdg', 'lhr'];
const FIRST = fixture('hello/hello-c.wasm');
const SECOND = fixture('hello/hello-v2.wasm');
const TRAP = fixture('hostile/start-trap.wasm');

let directory: Directory;
let control: Running;
let controlUrl = '';
let token = '';
const edges: { running: Running; url: string }[] = [];

const cli = (...args: string[]): Promise<Finished> =>
  run(args, { env: { EDGE_URL: controlUrl, EDGE_TOKEN: token } });

/** Runs a command that must succeed, and returns what it printed. */
async function edge(...args: string[]): Promise<string> {
  const { code, out, err } = await cli(...args);
  if (code !== 0) throw new Error(`edge ${args.join(' ')} ended with ${code}: ${err}${out}`);
  return out;
}

async function startEdge(pop: string, at: number): Promise<{ running: Running; url: string }> {
  const labels = ['--label', `region=${at < 2 ? 'asia' : 'europe'}`, '--label', `disk_gb=${at * 10}`];
  const joinToken = (await edge('join-token', '--pop', pop, ...labels)).trim();
  const [listen, metrics] = [await freePort(), await freePort()];
  const running = start([
    '--mode=edge',
    `--cp-url=${controlUrl}`,
    `--join-token=${joinToken}`,
    `--node-id=${pop}-1`,
    `--pop-id=${pop}`,
    '--labels=region=mars',
    `--data-dir=${join(directory.path, pop)}`,
    `--cache-dir=${join(directory.path, `cache-${pop}`)}`,
    `--listen=127.0.0.1:${listen}`,
    `--metrics-listen=127.0.0.1:${metrics}`,
  ]);
  await until(`the edge of ${pop} is ready`, async () => {
    return (await statusOf(`http://127.0.0.1:${metrics}/readyz`)) === 200;
  });
  return { running, url: `http://127.0.0.1:${listen}` };
}

/** What each pop answers, in the order of `POPS`: the version, or the status where none answers. */
async function served(): Promise<string[]> {
  const answers = edges.map(async ({ url }) => {
    const response = await fetch(`${url}/hello`);
    await response.arrayBuffer();
    return response.status === 200 ? (response.headers.get('x-edge-version') ?? '') : `${response.status}`;
  });
  return await Promise.all(answers);
}

/** Waits until the pops answer so: an end is not waited for by its command. */
async function becomes(expected: string[]): Promise<void> {
  const isSo = async (): Promise<boolean> => (await served()).join() === expected.join();
  await until(`the pops answer ${expected.join()}`, isSo);
}

async function ids(...args: string[]): Promise<{ id: string; version: string }[]> {
  const shown = JSON.parse(await edge('deployments', 'hello', '--json', ...args)) as {
    deployment: { id: string; version: string; status: string };
  }[];
  return shown.map((one) => one.deployment).filter((one) => one.status === 'active');
}

beforeAll(async () => {
  directory = temporaryDirectory();
  const [listen, metrics] = [await freePort(), await freePort()];
  controlUrl = `http://127.0.0.1:${listen}`;
  const dataDir = join(directory.path, 'cp');
  control = start([
    '--mode=cp',
    `--data-dir=${dataDir}`,
    `--cp-listen=127.0.0.1:${listen}`,
    `--metrics-listen=127.0.0.1:${metrics}`,
  ]);
  await until('the control plane is ready', async () => (await statusOf(`${controlUrl}/readyz`)) === 200);
  token = readFileSync(join(dataDir, 'admin-token'), 'utf8').trim();
}, 60_000);

afterAll(async () => {
  await Promise.all(edges.map(({ running }) => running.close()));
  await control.close();
  directory[Symbol.dispose]();
}, WAIT_MS);

describe('Five pops', () => {
  test('a deploy before any node has joined is refused with a sentence, and leaves nothing', async () => {
    const refused = await cli('deploy', FIRST, '--name', 'hello', '--route', '/hello');
    expect([refused.code, refused.out]).toEqual([1, '']);
    expect(refused.err).toContain('no_matching_nodes: No node has joined yet');
    expect(JSON.parse(await edge('functions', '--json'))).toEqual([]);
    for (const [at, pop] of POPS.entries()) edges.push(await startEdge(pop, at));
  }, 120_000);

  test('a new function goes to all of them', async () => {
    const out = await edge('deploy', FIRST, '--name', 'hello', '--route', '/hello');
    expect(out).toContain('target  every node\n  nodes   5 of 5 ready');
    expect(await served()).toEqual(POPS.map(() => '1.0.0'));
  });

  test('a plan shows what would move, and moves nothing', async () => {
    const out = await edge('deploy', SECOND, '--name', 'hello', '--pop', 'nrt', '--plan');
    expect(out).toContain('hello 1.0.1 (not uploaded yet) on pop nrt');
    expect(out).toMatch(/1\.0\.0 +0 +1 +4\n1\.0\.1 +1 +0 +0\n/);
    expect(out).toMatch(/nrt-1 +nrt +1\.0\.0 +1\.0\.1\n/);
    expect(await edge('versions', 'hello')).not.toContain('1.0.1');
    expect(await ids()).toHaveLength(1);
  });

  test('a deploy to one does not take the function off the other four', async () => {
    const out = await edge('deploy', SECOND, '--name', 'hello', '--pop', 'nrt');
    expect(out).toContain('target  pop nrt\n  nodes   1 of 1 ready');
    expect(await served()).toEqual(['1.0.1', '1.0.0', '1.0.0', '1.0.0', '1.0.0']);
  });

  test.each([
    [['--selector', "regoin == 'asia'"], 'did you mean region?'],
    [['--selector', 'region == asia'], "did you mean the text 'asia'?"],
    [['--selector', "not disk_gb == 'big'"], 'at character 5: The label "disk_gb" is a number'],
    [
      ['--selector', "region == 'mars'"],
      "No node matches region == 'mars'. Nodes have disk_gb (0, 10, 20, 30, 40)",
    ],
    [['--pop', 'nrt', '--pop', 'ntr'], 'No node stands in the pop ntr; did you mean nrt?'],
  ])('a typing error in %j ends with 1, uploads nothing, and every pop serves on', async (target, said) => {
    const refused = await cli('deploy', fixture('echo/echo.wasm'), '--name', 'hello', ...target);
    expect([refused.code, refused.out]).toEqual([1, '']);
    expect(refused.err).toContain(said);
    expect(refused.err).toContain('Nothing has changed.');
    expect(await edge('versions', 'hello')).not.toContain('1.0.2');
    expect(await served()).toEqual(['1.0.1', '1.0.0', '1.0.0', '1.0.0', '1.0.0']);
  });

  test('a rollback leaves that version alone; the second one changes nothing', async () => {
    expect(await edge('rollback', 'hello')).toContain('hello is back at 1.0.0 on pop nrt, from 1.0.1');
    const before = await ids();
    expect(await edge('rollback', 'hello')).toContain('hello is already back at 1.0.0');
    expect(await ids()).toEqual(before);
    expect(await served()).toEqual(POPS.map(() => '1.0.0'));
  });

  test('an end gives the pop back to the next deployment that matches', async () => {
    const words = ['--selector', "region == 'europe' and not disk_gb < 30"];
    await edge('deploy', SECOND, '--name', 'hello', ...words);
    expect(await served()).toEqual(['1.0.0', '1.0.0', '1.0.0', '1.0.1', '1.0.1']);
    const [newest] = await ids();
    const out = await edge('deployments', 'end', newest?.id ?? '');
    expect(out).toContain('is ended');
    expect(out).toContain('1.0.0 goes on, on every node');
    await becomes(POPS.map(() => '1.0.0'));
  });

  test('a version that traps at its start fails with the reason of the node, which serves on', async () => {
    const failed = await cli('deploy', TRAP, '--name', 'hello', '--pop', 'lhr');
    expect(failed.code).toBe(1);
    expect(failed.err).toContain('deploy_failed: Node lhr-1: guest_start_failed');
    const isOver = async (): Promise<boolean> =>
      /lhr-1 +lhr +online +1\.0\.2 +failed/.test(await edge('status', 'hello'));
    await until('the node has given up', isOver, 30_000);
    expect(await edge('deployments', 'hello')).toMatch(/1\.0\.2 +pop lhr +0 of 1 +failed/);
    expect(await served()).toEqual(POPS.map(() => '1.0.0'));
    expect(await edge('rollback', 'hello')).toContain('1 of 1 nodes ready');
  }, 60_000);

  test('a label of an operator counts at once; one that a node says of itself never', async () => {
    const words = ['--version', '1.0.1', '--selector', 'spare', '--allow-empty'];
    await edge('deploy', SECOND, '--name', 'hello', ...words);
    expect(await edge('node', 'label', 'kix-1', 'spare=true')).toBe(
      'kix-1 has region=asia,disk_gb=10,spare=true\n',
    );
    await becomes(['1.0.0', '1.0.1', '1.0.0', '1.0.0', '1.0.0']);
    await edge('node', 'label', 'kix-1', 'spare-');
    await becomes(POPS.map(() => '1.0.0'));
    expect((await cli('nodes')).err).toContain('what nrt-1 says of its region selects nothing');
  });

  test('a deploy without a target moves every target, one for every node ends the others', async () => {
    const out = await edge('deploy', SECOND, '--name', 'hello', '--version', '2.0.0');
    expect(out).toContain('5 of 5 ready');
    expect(await served()).toEqual(POPS.map(() => '2.0.0'));
    expect((await ids()).length).toBeGreaterThan(1);
    await edge('deploy', FIRST, '--name', 'hello', '--version', '2.0.1', '--everywhere');
    expect(await ids()).toHaveLength(1);
    expect(await served()).toEqual(POPS.map(() => '2.0.1'));
    await edge('undeploy', 'hello');
    await becomes(POPS.map(() => '404'));
  });
});
