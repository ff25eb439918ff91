// Mutants through a running edge: uploaded, deployed and called, while a neighbour notices nothing.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { MODULE_ERRORS } from '../../src/base/errors.ts';
import { checkHere } from '../../src/program/roles/module_check.ts';
import { rssMb } from '../bench/proc.ts';
import {
  type Directory,
  type Up,
  WAIT_MS,
  childrenOf,
  codeOf,
  deployed,
  fixture,
  isRunning,
  startUp,
  temporaryDirectory,
  until,
} from '../system/harness.ts';
import { type Mutant, type Mutants, nameOf, openMutants } from './mutants/mutants.ts';
import { runMutant } from './mutants/run.ts';
import { answerOf, fewestFiles, probe } from './probe.ts';
import { scale } from './scale.ts';

const SEED = 7;
/** Uploads and deployments at one time. */
const LANES = 4;
/** What the edge may keep of all mutants that are gone. */
const GROWTH_MB_MAX = 48;
const FILES_MAX = 4;
const HELLO = '200 Hello from edge!\n';
const TEST_MS = 1_800_000;

let directory: Directory;
let up: Up;
let zygote: number;
let mutants: Mutants;

beforeAll(async () => {
  directory = temporaryDirectory();
  up = await startUp(directory.path, { args: ['--invocations-per-minute', '100000000'] });
  await deployed(up, fixture('hello/hello-c.wasm'), ['--name', 'neighbour', '--route', '/neighbour']);
  zygote = await up.zygote();
  mutants = await openMutants(SEED);
}, 120_000);

afterAll(async () => {
  await up.close();
  directory[Symbol.dispose]();
}, WAIT_MS);

const isAccepted = ({ bytes }: Mutant): boolean =>
  checkHere(bytes, { memoryPages: 256, entrypoint: 'handle' }).ok;

/** Runs all mutants, several at a time, while the neighbour is asked. */
async function runAll(
  chosen: Iterable<Mutant>,
  run: (mutant: Mutant) => Promise<readonly string[]>,
): Promise<void> {
  const neighbour = probe(
    () => answerOf(`${up.publicUrl}/neighbour`),
    (answer) => answer === HELLO,
  );
  const wrong: string[] = [];
  const next = chosen[Symbol.iterator]();
  const lane = async (): Promise<void> => {
    for (let one = next.next(); one.done !== true; one = next.next()) wrong.push(...(await run(one.value)));
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  const probed = await neighbour.stop();
  expect(wrong).toEqual([]);
  expect(probed.wrong).toEqual([]);
  expect(probed.answers).toBeGreaterThan(0);
  expect(isRunning(up.pid)).toBe(true);
  expect(await up.zygote()).toBe(zygote);
}

function* first(count: number, fits: (mutant: Mutant) => boolean, from = 0): Generator<Mutant> {
  for (let index = from, found = 0; found < count; index += 1) {
    const mutant = mutants(index);
    if (!fits(mutant)) continue;
    found += 1;
    yield mutant;
  }
}

/** Sends the bytes as an upload of a function of its own, which stays. */
async function upload(mutant: Mutant): Promise<readonly string[]> {
  const created = await up.api('POST', '/functions', { name: `upload-${mutant.index}` });
  const { upload_url: url } = created.json as { upload_url: string };
  const response = await fetch(new URL(url, up.controlUrl), { method: 'PUT', body: mutant.bytes });
  const code = response.ok ? 'accepted' : await codeOf(response);
  if (response.ok) await response.arrayBuffer();
  const isRight = isAccepted(mutant) ? response.ok : response.status === 422 && code !== undefined;
  const isKnown =
    code === 'accepted' || code === 'artifact_empty' || Object.hasOwn(MODULE_ERRORS, code ?? '');
  return isRight && isKnown ? [] : [`the upload answered ${response.status} ${code}: ${nameOf(mutant)}`];
}

async function settled(): Promise<{ files: number; zygoteFiles: number; mb: number }> {
  await until('only workers of the neighbour are left', () => childrenOf(zygote).length <= 2);
  const files = await fewestFiles(up.pid);
  return { files, zygoteFiles: await fewestFiles(zygote), mb: rssMb(up.pid) };
}

describe('Mutants through a running edge', () => {
  test(
    `${scale.mutantsUploaded} uploads are accepted or refused as the check says`,
    async () => {
      await runAll(
        first(scale.mutantsUploaded, () => true),
        upload,
      );
    },
    TEST_MS,
  );

  test(
    `${scale.mutantsDeployed} accepted ones answer or fail with a code of the table`,
    async () => {
      const warmUp = Math.ceil(scale.mutantsDeployed / 4);
      const states = new Map<string, number>();
      const run = async (mutant: Mutant): Promise<readonly string[]> => {
        const { answers, wrong, states: reported } = await runMutant(up, mutant);
        for (const what of [...answers, ...reported]) {
          const kind = what.replace(/[:;].*/, '');
          states.set(kind, (states.get(kind) ?? 0) + 1);
        }
        return wrong;
      };
      const start = 1_000_000;
      await runAll(first(warmUp, isAccepted, start), run);
      const before = await settled();
      await runAll(first(scale.mutantsDeployed - warmUp, isAccepted, 2 * start), run);
      const after = await settled();
      expect(after.files - before.files).toBeLessThanOrEqual(FILES_MAX);
      expect(after.zygoteFiles).toBeLessThanOrEqual(before.zygoteFiles);
      expect(after.mb - before.mb).toBeLessThan(GROWTH_MB_MAX);
      expect(states.get('200') ?? 0).toBeGreaterThan(0);
    },
    TEST_MS,
  );
});
