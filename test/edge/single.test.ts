// One module behind a listener of its own, without a control plane.
import { describe, expect, test } from 'bun:test';
import { createSystemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/id.ts';
import { createLog } from '../../src/base/log.ts';
import { createMetrics } from '../../src/base/metrics.ts';
import { edgeLimits } from '../../src/edge/edge.ts';
import { createSingleRunner, type SingleRunner } from '../../src/edge/single.ts';
import { defaultVersionSettings } from '../../src/model/function.ts';
import { digest } from './fake_control.ts';
import { createFakeEngine, type FakeEngine } from './fake_engine.ts';

const listen = { host: '127.0.0.1', port: 0 };

function run(
  engine: FakeEngine,
  { port = 0, poolWorkersMin = 1 }: { port?: number; poolWorkersMin?: number } = {},
): Promise<SingleRunner> {
  const clock = createSystemClock();
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
