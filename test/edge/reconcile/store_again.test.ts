// Versions that serve while their artifacts are not on disk: reported as such, and stored again.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemRandom } from '../../../src/base/id.ts';
import { EDGE_TUNING } from '../../../src/base/limits/edge.ts';
import { createLog } from '../../../src/base/log.ts';
import { createMetrics } from '../../../src/base/metrics.ts';
import { createEdgeFigures } from '../../../src/edge/figures/figures.ts';
import { openCache } from '../../../src/edge/reconcile/cache/cache.ts';
import { Reconciler } from '../../../src/edge/reconcile/reconciler.ts';
import { createSteps } from '../../../src/edge/reconcile/steps.ts';
import type { ObservedFunction } from '../../../src/model/protocol.ts';
import { desiredFunction } from '../fake_control.ts';
import { createFakeEngine } from '../fake_engine.ts';
import { createTestClock, functionId, type TestClock, until } from '../harness.ts';

const BYTES_MAX = 40;

let dir = '';
let clock: TestClock;
let reconciler: Reconciler;
let pulls = 0;
let checks = 0;
let changes = 0;
let isReachable = true;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'edge-store-'));
  clock = createTestClock();
  [pulls, checks, changes, isReachable] = [0, 0, 0, true];
  const log = createLog({ clock, write: () => {} });
  const cache = openCache({
    dir,
    bytesMax: BYTES_MAX,
    entriesMax: 100,
    clock,
    random: systemRandom,
    log,
    onRead: () => {},
  });
  const { holds } = cache;
  cache.holds = (ref) => {
    checks += 1;
    return holds.call(cache, ref);
  };
  const puller = {
    pull: async ({ artifact_url: url }: { artifact_url: string }) => {
      pulls += 1;
      if (!isReachable) return { ok: false, reason: 'unreachable', message: 'no way' } as const;
      return { ok: true, bytes: Buffer.from(decodeURIComponent(url.slice('/artifacts/'.length))) } as const;
    },
    close: () => {},
  };
  const engine = createFakeEngine();
  reconciler = new Reconciler({
    steps: createSteps({ engine, cache, puller, poolWorkersMin: 1, log, onPrepared: () => {} }),
    cache,
    puller,
    figures: createEdgeFigures({ metrics: createMetrics(), clock }),
    clock,
    random: (bytes) => new Uint8Array(bytes).fill(0x80),
    log,
    quota: { concurrentMax: 10, perMinuteMax: 10 },
    onChange: () => void (changes += 1),
  });
  reconciler.start();
});
afterEach(async () => {
  const drained = reconciler.drain({ graceMs: 0 });
  await clock.advance(0);
  await drained;
  reconciler.close();
  rmSync(dir, { recursive: true, force: true });
});

const fileOf = (n: number, version = '1.0.0'): string => join(dir, functionId(n), `${version}.wasm`);
const observed = (n: number): ObservedFunction | undefined =>
  reconciler.observed().find(({ id }) => id === functionId(n));
const isStored = (n: number): boolean => observed(n)?.state === 'cached' && observed(n)?.error === null;

async function serve(...numbers: number[]): Promise<void> {
  reconciler.apply({ functions: numbers.map((n) => desiredFunction(n, '1.0.0')) });
  await until('all serve', () => numbers.every((n) => observed(n)?.state === 'cached'));
}

/** Lets the loop take steps until the condition holds. */
async function step(what: string, condition: () => boolean): Promise<void> {
  await until(what, async () => {
    if (condition()) return true;
    await clock.advance(EDGE_TUNING.storeCheckMs);
    return condition();
  });
}

describe('A version whose artifact the disk refused', () => {
  test('serves, says that it is not stored, and is stored once the disk takes it', async () => {
    writeFileSync(join(dir, functionId(1)), 'in the way');
    await serve(1);
    expect(observed(1)?.error).toContain('not in the cache on disk');
    await step('it was tried again', () => pulls === 2);
    expect(isStored(1)).toBe(false);
    rmSync(join(dir, functionId(1)));
    const before = changes;
    await step('it is stored', () => isStored(1));
    expect(readFileSync(fileOf(1), 'utf8')).toBe('f1 1.0.0');
    expect(changes).toBeGreaterThan(before);
  });

  test('is pulled again with growing waits', async () => {
    writeFileSync(join(dir, functionId(1)), 'in the way');
    await serve(1);
    const [pullsBefore, checksBefore] = [pulls, checks];
    await step('it was pulled a few times', () => pulls === pullsBefore + 6);
    expect(checks - checksBefore).toBeGreaterThan(2 * 6);
  });

  test('where the cache has no room', async () => {
    for (let count = 1; count <= 6; count += 1)
      await serve(...Array.from({ length: count }, (_, index) => index + 1));
    expect([isStored(5), observed(6)?.error]).toEqual([
      true,
      expect.stringContaining('not in the cache on disk'),
    ]);
    await serve(2, 3, 4, 5, 6);
    await step('there is room', () => isStored(6));
    expect(existsSync(fileOf(6))).toBe(true);
  });
});

describe('A version whose file was removed underneath', () => {
  test.each([
    ['removed', () => rmSync(fileOf(1))],
    ['cut short', () => writeFileSync(fileOf(1), 'f1')],
    ['removed with its folder', () => rmSync(join(dir, functionId(1)), { recursive: true })],
  ])('%s: it is reported and stored again', async (_, damage) => {
    await serve(1, 2);
    expect([isStored(1), isStored(2)]).toEqual([true, true]);
    damage();
    isReachable = false;
    await step('it is noticed', () => !isStored(1));
    expect([observed(1)?.state, isStored(2)]).toEqual(['cached', true]);
    isReachable = true;
    await step('it is stored again', () => isStored(1));
    expect(readFileSync(fileOf(1), 'utf8')).toBe('f1 1.0.0');
  });

  test('is not pulled where it is still there', async () => {
    await serve(1, 2);
    for (let count = 0; count < 20; count += 1) await clock.advance(EDGE_TUNING.storeCheckMs);
    expect(pulls).toBe(2);
  });
});
