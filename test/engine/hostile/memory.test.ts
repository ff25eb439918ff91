// A worker that was taken over reaches no memory of its neighbours and takes no more than its bound.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { POOL_BOUNDS } from '../../../src/base/limits/pool.ts';
import { openTestEngine, type TestEngine, textOf, until } from '../harness.ts';
import { buildHostileEngine } from './hostile_worker.ts';

/** Exit codes and steps of hostile_worker.c. */
const REFUSED = 78;
const STEP_BYTES = 16 * 1024 * 1024;
const SIGSEGV = 11;
const PAGES = 256;
const PAGE_BYTES = 65_536;
let build: Awaited<ReturnType<typeof buildHostileEngine>>;
let host: TestEngine;

type Ended = { how: string; value: number };

beforeAll(async () => {
  build = await buildHostileEngine();
  host = await openTestEngine({ libraryDir: build.dir, limits: { poolWorkersMin: 0 } });
  await host.engine.ready();
}, 60_000);

afterAll(async () => {
  await host.close();
  await build.close();
});

const endings = (): Ended[] =>
  host.lines.filter((line) => line.includes('ended by itself"')).map((line): Ended => JSON.parse(line));

/** How the attacker ended; a neighbour in the place behind it answers afterwards. */
async function attack(name: string): Promise<Ended> {
  const before = endings().length;
  const guest = await host.openGuest('hello/hello-c.wasm', { env: { ATTACK: name }, memory_pages: PAGES });
  const neighbour = await host.openGuest('hello/hello-c.wasm');
  const warming = guest.pool.warm(1);
  expect(await neighbour.pool.warm(1)).toEqual({ ok: true });
  await warming;
  await until('the attacker has ended', () => endings().length > before);
  expect(textOf(await host.invoke(neighbour.pool))).toContain('Hello');
  await Promise.all([guest, neighbour].map(({ pool }) => pool.close({ graceMs: 0 })));
  const ended = endings()[before];
  if (ended === undefined) throw new Error('no end');
  return ended;
}

describe('A taken-over worker', () => {
  test('cannot map the slots of another', async () => {
    expect(await attack('remap')).toMatchObject({ how: 'exited', value: REFUSED });
  });

  test('has nothing left of what the engine process reserved', async () => {
    expect(await attack('fill')).toMatchObject({ how: 'signalled', value: SIGSEGV });
  });

  test('gets no more private memory than its function may have', async () => {
    const { how, value } = await attack('hoard');
    const bytesMax = PAGES * PAGE_BYTES + POOL_BOUNDS.workerOverheadBytes;
    expect(how).toBe('exited');
    expect(value).toBeGreaterThan(0);
    expect(value).toBeLessThanOrEqual(Math.ceil(bytesMax / STEP_BYTES));
  });
});
