// The reconciler: failures and their waits, many functions at once, draining; on a manual clock.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EDGE_TUNING } from '../../../src/base/limits/edge.ts';
import { ENGINE_BOUNDS } from '../../../src/base/limits/engine.ts';
import { systemRandom } from '../../../src/base/id.ts';
import { createLog } from '../../../src/base/log.ts';
import { createMetrics } from '../../../src/base/metrics.ts';
import { type ArtifactCache, openCache } from '../../../src/edge/reconcile/cache/cache.ts';
import { createEdgeFigures } from '../../../src/edge/figures/figures.ts';
import type { Puller, PullOutcome } from '../../../src/edge/reconcile/pull.ts';
import { Reconciler } from '../../../src/edge/reconcile/reconciler.ts';
import { createSteps } from '../../../src/edge/reconcile/steps.ts';
import { desiredFunction } from '../fake_control.ts';
import { createFakeEngine, type FakeEngine } from '../fake_engine.ts';
import { createTestClock, functionId, type TestClock, until } from '../harness.ts';

let dir = '';
let clock: TestClock;
let engine: FakeEngine;
let cache: ArtifactCache;
let reconciler: Reconciler;
/** The outcome of a pull, by the URL of the artifact; `pulled` lists the URLs that were asked for. */
let pull: (url: string) => Promise<PullOutcome>;
let pulled: string[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'edge-reconcile-'));
  clock = createTestClock();
  engine = createFakeEngine();
  pulled = [];
  pull = async (url) => ({
    ok: true,
    bytes: Buffer.from(decodeURIComponent(url.slice('/artifacts/'.length))),
  });
  const log = createLog({ clock, write: () => {} });
  cache = openCache({
    dir,
    bytesMax: 1e6,
    entriesMax: 12,
    clock,
    random: systemRandom,
    log,
    onRead: () => {},
  });
  const puller: Puller = {
    pull: ({ artifact_url: url }) => {
      pulled.push(url);
      return pull(url);
    },
    close: () => {},
  };
  const figures = createEdgeFigures({ metrics: createMetrics(), clock });
  reconciler = new Reconciler({
    steps: createSteps({ engine, cache, puller, poolWorkersMin: 1, log, onPrepared: () => {} }),
    cache,
    puller,
    figures,
    clock,
    random: systemRandom,
    log,
    quota: { concurrentMax: 10, perMinuteMax: 10 },
    onChange: () => {},
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

/** Less than the shortest wait after a failure, so that no attempt is missed. */
const SHORTEST_MS = 90;
const unreachable: PullOutcome = { ok: false, reason: 'unreachable', message: 'no way' };
const stateOf = (n: number): string | undefined =>
  reconciler.observed().find(({ id }) => id === functionId(n))?.state;

/** Turns the clock by `stepMs` at a time until `condition` holds; returns the seconds that it took. */
async function seconds(what: string, condition: () => boolean, stepMs = 1_000): Promise<number> {
  const startMs = clock.monotonicMs();
  await until(what, async () => {
    if (condition()) return true;
    await clock.advance(stepMs);
    return condition();
  });
  return (clock.monotonicMs() - startMs) / 1_000;
}

describe('An artifact that cannot be fetched', () => {
  test('is an error after five attempts, and comes up by itself later', async () => {
    pull = async () => unreachable;
    reconciler.apply({ functions: [desiredFunction(1, '1.0.0')] });
    for (let attempt = 1; attempt <= 4; attempt += 1) {
      await seconds(`attempt ${attempt} was made`, () => pulled.length === attempt, SHORTEST_MS);
      expect(stateOf(1)).toBe('loading');
    }
    await seconds('the fifth has failed', () => stateOf(1) === 'error', SHORTEST_MS);
    expect(pulled.length).toBe(5);
    expect(reconciler.observed()[0]?.error).toBe('artifact_unavailable: no way');
    const waited = await seconds('it is tried again', () => pulled.length > 5);
    expect(waited).toBeLessThanOrEqual(61);
    pull = async (url) => ({
      ok: true,
      bytes: Buffer.from(decodeURIComponent(url.slice('/artifacts/'.length))),
    });
    await seconds('it is cached', () => stateOf(1) === 'cached');
  });

  test('is not asked for again by each apply of the same state', async () => {
    pull = async () => unreachable;
    for (let i = 0; i < 5; i += 1) {
      reconciler.apply({ functions: [desiredFunction(1, '1.0.0')] });
      await until('the attempt has ended', () => reconciler.isSettled());
    }
    expect(pulled.length).toBe(1);
  });

  test('does not hold up other functions', async () => {
    pull = (url) =>
      url.includes('f1')
        ? new Promise(() => {})
        : Promise.resolve({ ok: true, bytes: Buffer.from('f2 1.0.0') });
    reconciler.apply({ functions: [desiredFunction(1, '1.0.0'), desiredFunction(2, '1.0.0')] });
    await until('the other one is there', () => stateOf(2) === 'cached');
    expect(stateOf(1)).toBe('loading');
  });
});

describe('Many functions at once', () => {
  test('come up 8 at a time, and one for which a request waits is next', async () => {
    const gates: (() => void)[] = [];
    pull = (url) =>
      new Promise((resolve) => {
        const bytes = Buffer.from(decodeURIComponent(url.slice('/artifacts/'.length)));
        gates.push(() => resolve({ ok: true, bytes }));
      });
    const numbers = Array.from({ length: 12 }, (_, i) => i + 1);
    reconciler.apply({ functions: numbers.map((n) => desiredFunction(n, '1.0.0')) });
    await until('8 are being pulled', () => gates.length === 8);
    const match = reconciler.routing.match('http://x/12', 'GET');
    if (match.kind !== 'match' || match.target.current.pool !== null) throw new Error('12 is not on its way');
    const waiting = match.target.current.whenReady();
    gates.shift()?.();
    await until('the next one is pulled', () => pulled.length === 9);
    expect(pulled[8]).toBe(desiredFunction(12, '1.0.0').artifact_url);
    while (numbers.some((n) => stateOf(n) !== 'cached')) {
      for (const gate of gates.splice(0)) gate();
      await clock.advance(0);
    }
    expect(await waiting).toMatchObject({ ready: true, version: { functionId: functionId(12) } });
    expect(reconciler.isSettled()).toBe(true);
  });
});

test('A version that is refused is compiled again only after a wait', async () => {
  engine.refusals.set('f1 1.0.0', { code: 'invalid_wasm', message: 'no' });
  reconciler.apply({ functions: [desiredFunction(1, '1.0.0')] });
  await seconds('it has failed', () => stateOf(1) === 'error');
  const compiled = (): number => engine.events.filter((event) => event === 'prepare f1 1.0.0').length;
  expect(compiled()).toBe(1);
  await clock.advance(99);
  expect(compiled()).toBe(1);
  await seconds('it is tried again', () => compiled() > 1);
  expect(pulled.length).toBe(1);
});

describe('A version that fails with the same fault of its own', () => {
  const warmings = (text: string): number => engine.events.filter((event) => event === `warm ${text}`).length;
  const startTrap = { code: 'guest_start_failed', detail: 'the start function ended with a trap' } as const;

  test('is reported as failed after a few attempts and is not tried again; another version is', async () => {
    engine.unstartable.set('f1 1.0.0', startTrap);
    reconciler.apply({ functions: [desiredFunction(1, '1.0.0')] });
    await seconds('it has failed', () => stateOf(1) === 'failed', SHORTEST_MS);
    expect(warmings('f1 1.0.0')).toBe(EDGE_TUNING.sameFaultsMax);
    expect(reconciler.observed()[0]?.error).toBe('guest_start_failed: the start function ended with a trap');
    for (let turn = 0; turn < 10; turn += 1) await clock.advance(EDGE_TUNING.reconcileDelayMsMax);
    reconciler.apply({ functions: [desiredFunction(1, '1.0.0'), desiredFunction(2, '1.0.0')] });
    await until('another function is there', () => stateOf(2) === 'cached');
    expect([warmings('f1 1.0.0'), stateOf(1)]).toEqual([EDGE_TUNING.sameFaultsMax, 'failed']);
    reconciler.apply({ functions: [desiredFunction(1, '2.0.0')] });
    await until('the next version serves', () => stateOf(1) === 'cached');
  });

  test('keeps the version before it serving', async () => {
    reconciler.apply({ functions: [desiredFunction(1, '1.0.0')] });
    await until('it serves', () => stateOf(1) === 'cached');
    engine.unstartable.set('f1 2.0.0', startTrap);
    reconciler.apply({ functions: [desiredFunction(1, '2.0.0')] });
    await seconds('it has failed', () => stateOf(1) === 'failed', SHORTEST_MS);
    const states = reconciler.observed().map(({ version, state }) => `${version} ${state}`);
    expect(states).toEqual(['2.0.0 failed', '1.0.0 cached']);
  });

  test.each(['execution_timeout', 'worker_lost', 'guest_memory_exhausted'] as const)(
    'is tried again for as long as it takes where the fault may pass: %s',
    async (code) => {
      engine.unstartable.set('f1 1.0.0', { code, detail: 'a busy node' });
      reconciler.apply({ functions: [desiredFunction(1, '1.0.0')] });
      await seconds('many attempts were made', () => warmings('f1 1.0.0') > 2 * EDGE_TUNING.sameFaultsMax);
      expect(stateOf(1)).toBe('error');
      engine.unstartable.clear();
      await seconds('it serves', () => stateOf(1) === 'cached');
    },
  );

  test('is tried again where the faults differ', async () => {
    let attempt = 0;
    engine.unstartable.get = () => ({ ...startTrap, detail: `the ${(attempt += 1)}th fault` });
    reconciler.apply({ functions: [desiredFunction(1, '1.0.0')] });
    await seconds('many attempts were made', () => attempt > 2 * EDGE_TUNING.sameFaultsMax);
    expect(stateOf(1)).toBe('error');
  });
});

test('A full cache evicts replaced versions before those that serve', async () => {
  const numbers = Array.from({ length: 11 }, (_, i) => i + 1);
  reconciler.apply({ functions: numbers.map((n) => desiredFunction(n, '1.0.0')) });
  await until('all are there', () => numbers.every((n) => stateOf(n) === 'cached'));
  for (const version of ['2.0.0', '3.0.0', '4.0.0']) {
    await clock.advance(1);
    const moved = numbers.map((n) => desiredFunction(n, n === 1 ? version : '1.0.0'));
    reconciler.apply({ functions: moved });
    await until('it has moved', () => reconciler.observed().every(({ state }) => state === 'cached'));
  }
  for (const n of numbers.slice(1)) {
    const { function_id, version, sha256 } = desiredFunction(n, '1.0.0');
    expect(await cache.get({ functionId: function_id, version, sha256 })).not.toBeNull();
  }
  expect(cache.totals().entries).toBe(12);
});

describe('A reconciler that drains', () => {
  test('does not wait for a function that is still starting', async () => {
    engine.stuck.add('f1 1.0.0');
    reconciler.apply({ functions: [desiredFunction(1, '1.0.0')] });
    await until('it is being warmed', () => engine.events.includes('warm f1 1.0.0'));
    const startMs = clock.monotonicMs();
    await reconciler.drain({ graceMs: 60_000 });
    expect([clock.monotonicMs() - startMs, engine.openPools(), engine.openCodes()]).toEqual([0, 0, 0]);
  });

  test('stops waiting for a compile that does not end in time', async () => {
    engine.gates.set('f1 1.0.0', new Promise(() => {}));
    reconciler.apply({ functions: [desiredFunction(1, '1.0.0')] });
    await until('it is being compiled', () => engine.events.includes('prepare f1 1.0.0'));
    let isDrained = false;
    const drained = reconciler.drain({ graceMs: 60_000 }).then(() => (isDrained = true));
    const took = await seconds('it is drained', () => isDrained, ENGINE_BOUNDS.closeMs);
    expect(took * 1_000).toBeLessThanOrEqual(ENGINE_BOUNDS.closeMs * 2);
    await drained;
  });
});

describe('A version that the node could not compile for now', () => {
  const TEXT = 'f1 1.0.0';
  const compiled = (): number => engine.events.filter((event) => event === `prepare ${TEXT}`).length;
  const execution = (): string | null | undefined => reconciler.observed()[0]?.execution;
  const serve = async (): Promise<void> => {
    engine.standIns.add(TEXT);
    reconciler.apply({ functions: [desiredFunction(1, '1.0.0')] });
    await until('it serves', () => stateOf(1) === 'cached');
  };

  test('serves from the interpreter, and from compiled code once that is there', async () => {
    await serve();
    expect([execution(), compiled()]).toEqual(['interpreter', 1]);
    await seconds('it was tried again', () => compiled() === 2);
    await until('the try has ended', () => engine.openCodes() === 1);
    expect([execution(), stateOf(1), engine.openPools()]).toEqual(['interpreter', 'cached', 1]);
    engine.standIns.clear();
    await seconds('it is compiled', () => execution() === 'aot');
    await until('the interpreter is closed', () => engine.openPools() === 1 && engine.openCodes() === 1);
    const tries = compiled();
    await clock.advance(EDGE_TUNING.recompileDelayMsMax * 2);
    expect([compiled(), execution()]).toEqual([tries, 'aot']);
  });

  test('waits longer after each try, and stays in the interpreter after the last', async () => {
    await serve();
    const last = EDGE_TUNING.recompilesMax + 1;
    const startMs = clock.monotonicMs();
    await seconds('the last try was made', () => compiled() === last, EDGE_TUNING.recompileDelayMsMax);
    expect(clock.monotonicMs() - startMs).toBeGreaterThan(EDGE_TUNING.recompileDelayMsMin);
    await clock.advance(EDGE_TUNING.recompileDelayMsMax * 10);
    expect([compiled(), execution(), stateOf(1)]).toEqual([last, 'interpreter', 'cached']);
    expect([engine.openPools(), engine.openCodes()]).toEqual([1, 1]);
  });

  test('is not compiled again when another version is wanted', async () => {
    await serve();
    const gate = Promise.withResolvers<void>();
    engine.gates.set(TEXT, gate.promise);
    await seconds('it is compiled again', () => compiled() === 2);
    reconciler.apply({ functions: [desiredFunction(1, '2.0.0')] });
    gate.resolve();
    await until('the other serves', () => reconciler.observed()[0]?.version === '2.0.0');
    await until('the first is closed', () => engine.openPools() === 1 && engine.openCodes() === 1);
    await clock.advance(EDGE_TUNING.recompileDelayMsMax * 10);
    expect(compiled()).toBe(2);
  });

  describe('while it is compiled again', () => {
    const gate = { open: (): void => {} };
    beforeEach(async () => {
      await serve();
      const { promise, resolve } = Promise.withResolvers<void>();
      gate.open = resolve;
      engine.gates.set(TEXT, promise);
      await seconds('it is compiled again', () => compiled() === 2);
      engine.standIns.clear();
    });
    const leadsTo = (path: string): string | null => {
      const match = reconciler.routing.match(`http://x${path}`, 'GET');
      return match.kind === 'match' ? match.target.current.version : null;
    };
    const isFreed = (): boolean => engine.openPools() === 1 && engine.openCodes() === 1;

    test('takes other routes at once, and then its compiled code', async () => {
      const moved = desiredFunction(1, '1.0.0');
      moved.routes = moved.routes.map((rule) => ({ ...rule, path: '/moved' }));
      reconciler.apply({ functions: [moved] });
      expect([leadsTo('/1'), leadsTo('/moved')]).toEqual([null, '1.0.0']);
      expect(engine.cancels.at(-1)?.aborted).toBe(false);
      gate.open();
      await until('it is compiled', () => execution() === 'aot');
      await until('the interpreter is closed', isFreed);
      expect([leadsTo('/1'), leadsTo('/moved')]).toEqual([null, '1.0.0']);
    });

    test('makes way for another version at once, and its compile is cancelled', async () => {
      reconciler.apply({ functions: [desiredFunction(1, '2.0.0')] });
      expect(engine.cancels.at(-1)?.aborted).toBe(true);
      await until('the other serves', () => leadsTo('/1') === '2.0.0');
      gate.open();
      await until('the first is closed', isFreed);
      await clock.advance(EDGE_TUNING.recompileDelayMsMax * 10);
      expect([compiled(), execution()]).toEqual([2, 'aot']);
    });

    test('leaves the node at once', async () => {
      reconciler.apply({ functions: [] });
      await until('it is gone', () => reconciler.observed().length === 0);
      expect([leadsTo('/1'), engine.openPools(), cache.totals().entries]).toEqual([null, 0, 0]);
      gate.open();
      await until('its code is closed', () => engine.openCodes() === 0);
    });
  });

  test('is tried again also where its artifact is gone from the cache and cannot be fetched', async () => {
    await serve();
    const { function_id } = desiredFunction(1, '1.0.0');
    await cache.evict(function_id);
    pull = async () => unreachable;
    await seconds('it was asked for again', () => pulled.length > 1);
    expect([stateOf(1), execution()]).toEqual(['cached', 'interpreter']);
    pull = async () => ({ ok: true, bytes: Buffer.from(TEXT) });
    engine.standIns.clear();
    await seconds('it is compiled', () => execution() === 'aot');
  });
});
