// A worker that was taken over reaches no memory of its neighbours.
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { openTestEngine, type TestEngine, textOf, until } from '../harness.ts';
import { buildHostileEngine } from './hostile_worker.ts';

/** Exit codes of hostile_worker.c. */
const REFUSED = 78;
let build: Awaited<ReturnType<typeof buildHostileEngine>>;
let host: TestEngine;

beforeAll(async () => {
  build = await buildHostileEngine();
  host = await openTestEngine({ libraryDir: build.dir, limits: { poolWorkersMin: 0 } });
  await host.engine.ready();
}, 60_000);

afterAll(async () => {
  await host.close();
  await build.close();
});

test.each(['remap'])('by %s', async (attack) => {
  const guest = await host.openGuest('hello/hello-c.wasm', { env: { ATTACK: attack } });
  const neighbour = await host.openGuest('hello/hello-c.wasm');
  const ended = (): number =>
    host.lines.filter((line) => line.includes('a worker') && line.includes('"value"')).length;
  // The attacker takes the first place and the neighbour the one behind it.
  const warming = guest.pool.warm(1);
  expect(await neighbour.pool.warm(1)).toEqual({ ok: true });
  await warming;
  await until('the attacker has ended', () => ended() === 1);
  expect(host.lines.find((line) => line.includes('"value"'))).toContain(`"value":${REFUSED}`);
  expect(textOf(await host.invoke(neighbour.pool))).toContain('Hello');
});
