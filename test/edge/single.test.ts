// One module behind a listener of its own, without a control plane.
import { describe, expect, test } from 'bun:test';
import { type Clock, createSystemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/id.ts';
import { createLog } from '../../src/base/log.ts';
import { createMetrics } from '../../src/base/metrics.ts';
import { EDGE_TUNING } from '../../src/base/limits/edge.ts';
import { edgeLimits } from '../../src/edge/edge.ts';
import { createSingleRunner, type SingleRunner } from '../../src/edge/single.ts';
import { defaultVersionSettings } from '../../src/model/function.ts';
import { digest } from './fake_control.ts';
import { createFakeEngine, type FakeEngine } from './fake_engine.ts';
import { createTestClock, until } from './harness.ts';

const listen = { host: '127.0.0.1', port: 0 };

function run(
  engine: FakeEngine,
  options: { port?: number; poolWorkersMin?: number; clock?: Clock; notes?: string[] } = {},
): Promise<SingleRunner> {
  const { clock = createSystemClock(), notes = [], poolWorkersMin = 1, port = 0 } = options;
  return createSingleRunner({
    bytes: new TextEncoder().encode('module'),
    settings: defaultVersionSettings,
    engine,
    listen: { ...listen, port },
    limits: edgeLimits,
    accessLog: 'errors',
    poolWorkersMin,
    drainMs: 1_000,
    clock,
    random: systemRandom,
    log: createLog({ clock, write: () => {} }),
    metrics: createMetrics(),
    note: (line) => void notes.push(line),
  });
}

describe('A single module', () => {
  test('answers every host, path and method', async () => {
    const engine = createFakeEngine(({ method, target }) => ({
      kind: 'answer',
      status: 200,
      headers: [],
      body: new TextEncoder().encode(`${method} ${target}`),
      logs: null,
    }));
    const runner = await run(engine);
    const url = `http://127.0.0.1:${runner.port}`;
    expect(await (await fetch(`${url}/a/b?c`)).text()).toBe('GET /a/b?c');
    expect(await (await fetch(url, { method: 'DELETE' })).text()).toBe('DELETE /');
    expect(runner.sha256).toBe(digest('module'));
    await runner.close();
    expect([engine.openPools(), engine.openCodes()]).toEqual([0, 0]);
    await expect(fetch(url)).rejects.toThrow();
  });

  test.each([
    [3, 3],
    [0, 1],
  ])('with poolWorkersMin %i starts with %i warm', async (poolWorkersMin, warmed) => {
    const engine = createFakeEngine();
    const runner = await run(engine, { poolWorkersMin });
    expect(engine.warmed.get('module')).toBe(warmed);
    await runner.close();
  });

  test('that is refused or does not start rejects with its code', async () => {
    const refused = createFakeEngine();
    refused.refusals.set('module', { code: 'bad_magic', message: 'no module' });
    await expect(run(refused)).rejects.toMatchObject({ code: 'bad_magic', message: 'no module' });
    const dead = createFakeEngine();
    dead.unstartable.set('module', { code: 'guest_start_failed', detail: 'start trapped' });
    await expect(run(dead)).rejects.toMatchObject({ code: 'guest_start_failed', message: 'start trapped' });
    expect([dead.openPools(), dead.openCodes()]).toEqual([0, 0]);
  });

  test('on a port in use rejects, and leaves nothing open', async () => {
    const first = await run(createFakeEngine());
    const engine = createFakeEngine();
    await expect(run(engine, { port: first.port })).rejects.toThrow();
    expect([engine.openPools(), engine.openCodes()]).toEqual([0, 0]);
    await first.close();
  });
});

describe('A single module that the node could not compile for now', () => {
  const open = async (): Promise<{
    clock: ReturnType<typeof createTestClock>;
    engine: FakeEngine;
    notes: string[];
    runner: SingleRunner;
    answers: () => Promise<boolean>;
    compiled: () => number;
  }> => {
    const [clock, engine, notes] = [createTestClock(), createFakeEngine(), [] as string[]];
    engine.standIns.add('module');
    const runner = await run(engine, { clock, notes });
    return {
      clock,
      engine,
      notes,
      runner,
      answers: async () => (await fetch(`http://127.0.0.1:${runner.port}`)).ok,
      compiled: () => engine.events.filter((event) => event === 'prepare module').length,
    };
  };
  const later = (
    clock: ReturnType<typeof createTestClock>,
    what: string,
    holds: () => boolean,
  ): Promise<void> =>
    until(what, async () => {
      if (holds()) return true;
      await clock.advance(1_000);
      return holds();
    });

  const end = async (clock: ReturnType<typeof createTestClock>, closed: Promise<void>): Promise<void> => {
    let hasEnded = false;
    void closed.then(() => (hasEnded = true));
    await later(clock, 'it has ended', () => hasEnded);
  };

  test('answers, is compiled again, and then answers from compiled code', async () => {
    const { answers, clock, compiled, engine, notes, runner } = await open();
    expect([notes.length, notes[0]]).toEqual([1, expect.stringContaining('interpreter')]);
    const gate = Promise.withResolvers<void>();
    engine.gates.set('module', gate.promise);
    await later(clock, 'it is compiled again', () => compiled() === 2);
    expect(await answers()).toBe(true);
    engine.standIns.clear();
    gate.resolve();
    await until('it is compiled', () => notes.length === 2);
    expect(notes[1]).toBe('The module is compiled: it runs at full speed from here on.');
    await until('the interpreter is closed', () => engine.openPools() === 1 && engine.openCodes() === 1);
    expect(await answers()).toBe(true);
    await end(clock, runner.close());
    expect([engine.openPools(), engine.openCodes()]).toEqual([0, 0]);
  });

  test('stays in the interpreter after the last try, and says so', async () => {
    const { answers, clock, compiled, notes, runner } = await open();
    await until('the last try was made', async () => {
      await clock.advance(EDGE_TUNING.recompileDelayMsMax);
      return notes.length === 2;
    });
    expect([notes[1], compiled()]).toEqual([
      'The module stays in the interpreter: the log says why.',
      EDGE_TUNING.recompilesMax + 1,
    ]);
    expect(await answers()).toBe(true);
    await end(clock, runner.close());
  });

  test('ends at once while it is compiled again', async () => {
    const { clock, compiled, engine, notes, runner } = await open();
    const gate = Promise.withResolvers<void>();
    engine.gates.set('module', gate.promise);
    await later(clock, 'it is compiled again', () => compiled() === 2);
    const closed = runner.close();
    await until('the compile is cancelled', () => engine.cancels[0]?.aborted === true);
    gate.resolve();
    await end(clock, closed);
    expect([engine.openPools(), engine.openCodes(), notes.length]).toEqual([0, 0, 1]);
  });
});
