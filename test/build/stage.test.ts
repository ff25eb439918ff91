// When a step of the build is done, and what makes it run again.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stampOf } from '../../native/build/shell.ts';
import { openStage } from '../../native/build/stage.ts';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'edge-stage-'));
});
afterEach(() => rm(dir, { recursive: true }));

describe('A step of the build', () => {
  test('is done when its stamp is the same and its outputs are there', async () => {
    const stage = await openStage(dir);
    const output = stage.asset('engine.json');
    await writeFile(output, '{}');
    expect(await stage.isCurrent('pack', 'a', [output])).toBe(false);
    await stage.keep('pack', 'a');
    expect(await (await openStage(dir)).isCurrent('pack', 'a', [output])).toBe(true);
  });

  test('runs again when an output is gone', async () => {
    const stage = await openStage(dir);
    await stage.keep('pack', 'a');
    expect(await stage.isCurrent('pack', 'a', [stage.asset('engine.json')])).toBe(false);
  });

  test('that was interrupted with other inputs runs again when the first inputs return', async () => {
    const stage = await openStage(dir);
    await stage.keep('pack', 'a');
    expect(await stage.isCurrent('pack', 'b', [])).toBe(false);
    expect(await stage.isCurrent('pack', 'a', [])).toBe(false);
  });
});

test('The stamp of inputs depends on names and contents, not on their order', () => {
  expect(stampOf({ a: '1', b: '2' })).toBe(stampOf({ b: '2', a: '1' }));
  expect(stampOf({ a: '1', b: '2' })).not.toBe(stampOf({ a: '2', b: '1' }));
  expect(stampOf({ a: '12' })).not.toBe(stampOf({ a: '1', '2': '' }));
});
