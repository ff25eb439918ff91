// An executable whose engine can never serve: every command that needs it says so and ends.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { chmodSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findCompiler } from '../../native/build/cc.ts';
import { ENGINE_EXIT } from '../../src/engine/process/role_input.ts';
import {
  type Directory,
  fixture,
  freePort,
  run,
  start,
  statusOf,
  temporaryDirectory,
  until,
} from './harness.ts';

/** Stands for a library of another build: it refuses as `edge_engine_serve` does. */
const OTHER_LAYOUT = `
const char *edge_engine_wasmedge_version(void) { return "0.0.0"; }
int edge_engine_serve(void) { return -71; }
`;

let directory: Directory;
let env: Record<string, string>;

beforeAll(async () => {
  directory = temporaryDirectory();
  const home = join(directory.path, 'home');
  env = { HOME: home, XDG_CACHE_HOME: home };
  const bad = [
    'run',
    fixture('hello/hello-c.wasm'),
    '--data-dir',
    join(directory.path, 'first'),
    '--listen',
    '0',
  ];
  const first = start(bad, { env });
  await until('the libraries are unpacked', () => first.output().includes('answers every path'));
  await first.close();
  await replaceEngine();
});
afterAll(() => directory[Symbol.dispose]());

/** Puts a library of the same size in the place of the unpacked one. */
async function replaceEngine(): Promise<void> {
  const names = readdirSync(env['XDG_CACHE_HOME'] ?? '', { recursive: true }).map(String);
  const name = names.find((one) => one.endsWith('libedge_engine.so'));
  if (name === undefined) throw new Error('the engine was not unpacked');
  const path = join(env['XDG_CACHE_HOME'] ?? '', name);
  const { size } = statSync(path);
  const source = join(directory.path, 'other.c');
  const output = join(directory.path, 'other.so');
  writeFileSync(source, OTHER_LAYOUT);
  const { command } = await findCompiler(process.env['CC']);
  const built = Bun.spawnSync([command, '-shared', '-fPIC', '-o', output, source]);
  expect(built.exitCode).toBe(0);
  truncateSync(output, size);
  rmSync(path);
  writeFileSync(path, readFileSync(output));
  chmodSync(path, 0o500);
}

describe('An engine of another build', () => {
  const said = 'built with another layout of the ring than this program: rebuild both with `bun build.ts`';

  test('ends `edge run` with 1', async () => {
    const dataDir = join(directory.path, 'run');
    const { code, err } = await run(['run', fixture('hello/hello-c.wasm'), '--data-dir', dataDir], { env });
    expect([code, ENGINE_EXIT.layout]).toEqual([1, 3]);
    expect(err).toContain(said);
  });

  test('ends a node and its control plane with 1', async () => {
    const port = async (): Promise<string> => `127.0.0.1:${await freePort()}`;
    const [listen, cp, metrics] = [await port(), await port(), await port()];
    const args = ['--listen', listen, '--cp-listen', cp, '--metrics-listen', metrics];
    const up = await run(['up', '--data-dir', join(directory.path, 'up'), ...args], { env });
    expect([up.code, up.err]).toEqual([1, expect.stringContaining(said)]);
  });

  test('ends --mode=edge with 1, and the control plane goes on', async () => {
    const cp = `127.0.0.1:${await freePort()}`;
    const control = start(
      ['--mode=cp', '--data-dir', join(directory.path, 'cp'), '--cp-listen', cp, '--metrics-listen', '0'],
      { env },
    );
    try {
      await until('it listens', async () => (await statusOf(`http://${cp}/readyz`)) === 200);
      const token = readFileSync(join(directory.path, 'cp/admin-token'), 'utf8').trim();
      const client = { EDGE_URL: `http://${cp}`, EDGE_TOKEN: token };
      const { out } = await run(['join-token'], { env: client });
      const args = ['--cp-url', `http://${cp}`, '--join-token', out.trim(), '--metrics-listen', '0'];
      const dirs = ['--data-dir', join(directory.path, 'node'), '--cache-dir', join(directory.path, 'cache')];
      const edge = await run(['--mode=edge', ...args, ...dirs, '--listen', '0'], { env });
      expect([edge.code, edge.err]).toEqual([1, expect.stringContaining(said)]);
      expect(await statusOf(`http://${cp}/readyz`)).toBe(200);
    } finally {
      await control.close();
    }
  });
});
