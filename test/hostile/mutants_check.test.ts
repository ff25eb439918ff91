// The check of an upload survives any bytes: it answers each mutant soon and with a code of the table.
import { beforeAll, describe, expect, test } from 'bun:test';
import { MODULE_ERRORS } from '../../src/base/errors.ts';
import { createModuleCheck } from '../../src/program/roles/module_check.ts';
import { openFiles, rssMb } from '../bench/proc.ts';
import { executable, until } from '../system/harness.ts';
import { type Mutants, nameOf, openMutants } from './mutants/mutants.ts';
import { scale } from './scale.ts';

const SEED = 20_261_121;
/** Of one check: the control plane answers nothing else meanwhile. */
const GIVEN_BACK_MS = 3_000;
const CHECK_MS_MAX = 1_000;
/** That all checks together may add to this process. */
const GROWTH_MB_MAX = 96;
/** Checks after which the process has the size that it keeps. */
const WARM_UP = 1_000;
const options = { memoryPages: 256, entrypoint: 'handle' };

describe(`${scale.mutantsChecked} mutants`, () => {
  let mutants: Mutants;
  beforeAll(async () => {
    mutants = await openMutants(SEED);
  });

  test('are made again from seed and index', async () => {
    const again = await openMutants(SEED);
    for (const index of [0, 1, 999]) expect(again(index)).toEqual(mutants(index));
    expect(mutants(1).bytes).not.toEqual(mutants(2).bytes);
  });

  test('are each accepted or refused with a code of the table, and leave nothing behind', async () => {
    const check = createModuleCheck({ self: [executable()] });
    const counts = new Map<string, number>();
    const wrong: string[] = [];
    let before = { files: 0, mb: 0 };
    for (let index = 0; index < scale.mutantsChecked; index += 1) {
      if (index === WARM_UP) {
        Bun.gc(true);
        before = { files: openFiles(process.pid), mb: rssMb(process.pid) };
      }
      const mutant = mutants(index);
      const begun = performance.now();
      const result = await check(mutant.bytes, options).catch((failure: unknown) => String(failure));
      const took = performance.now() - begun;
      const code = typeof result === 'string' || result.ok ? 'accepted' : result.error.code;
      const isKnown = typeof result !== 'string' && (result.ok || Object.hasOwn(MODULE_ERRORS, code));
      if (!isKnown) wrong.push(`${JSON.stringify(result)}: ${nameOf(mutant)}`);
      if (took > CHECK_MS_MAX) wrong.push(`took ${took.toFixed(0)} ms: ${nameOf(mutant)}`);
      counts.set(code, (counts.get(code) ?? 0) + 1);
    }
    Bun.gc(true);
    expect(wrong).toEqual([]);
    expect(openFiles(process.pid)).toBeLessThanOrEqual(before.files);
    // The allocator gives pages back some time after the collector has freed them.
    const isGivenBack = (): boolean => {
      Bun.gc(true);
      return rssMb(process.pid) - before.mb < GROWTH_MB_MAX;
    };
    await until('no memory is kept', isGivenBack, GIVEN_BACK_MS);
    // A generator that makes only rubbish, or only good modules, would prove nothing.
    expect(counts.get('accepted') ?? 0).toBeGreaterThan(scale.mutantsChecked / 10);
    expect(counts.size).toBeGreaterThan(15);
  }, 1_200_000);
});
