// A worker that was taken over and misbehaves while it is idle is ended, and its neighbour notices little.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type Guest, openTestEngine, type TestEngine, textOf, until } from '../harness.ts';
import { buildHostileEngine } from './hostile_worker.ts';

const FOUND_MS = 8_000;
let build: Awaited<ReturnType<typeof buildHostileEngine>>;
let host: TestEngine;
let neighbour: Guest;

beforeAll(async () => {
  build = await buildHostileEngine();
  host = await openTestEngine({ libraryDir: build.dir, limits: { poolWorkersMin: 0 } });
  await host.engine.ready();
  neighbour = await host.openGuest('hello/hello-c.wasm');
}, 60_000);

afterAll(async () => {
  await host.close();
  await build.close();
});

const counts = (): number => host.engine.stats().crashed;

describe.each([
  ['spin', 'used the processor without a request'],
  ['lie', 'used the processor without a request'],
  ['flood', 'sent wake-ups without a reason'],
  ['keep-slots', 'filled memory that no request of it needs'],
])('An idle worker that was told to %s', (attack, reason) => {
  test(
    'is killed, while a neighbour gets every answer',
    async () => {
      const before = counts();
      const guest = await host.openGuest('hello/hello-c.wasm', { env: { ATTACK: attack } });
      const warmed = await guest.pool.warm(1);
      if (!warmed.ok) expect(warmed.code).toBe('guest_crashed');
      const endMs = performance.now() + FOUND_MS;
      while (counts() === before && performance.now() < endMs) {
        expect(textOf(await host.invoke(neighbour.pool))).toContain('Hello');
        await Bun.sleep(5);
      }
      expect(counts()).toBeGreaterThan(before);
      await until('no worker is left', () => guest.pool.stats().workers === 0);
      expect(host.lines.findLast((line) => line.includes('is killed'))).toContain(reason);
      await guest.pool.close({ graceMs: 0 });
    },
    2 * FOUND_MS,
  );
});

describe('A busy worker that floods the edge with wake-ups', () => {
  test('is killed at once, and its version pauses, while a neighbour gets every answer', async () => {
    const before = counts();
    const guest = await host.openGuest('hello/hello-c.wasm', { env: { ATTACK: 'flood_busy' } });
    expect(await guest.pool.warm(1)).toEqual({ ok: true });
    for (let round = 0; round < 20; round += 1) {
      const [outcome, other] = await Promise.all([
        host.invoke(guest.pool, {}, FOUND_MS),
        host.invoke(neighbour.pool),
      ]);
      expect(outcome).toMatchObject({ kind: 'fault', code: 'guest_crashed' });
      expect(textOf(other)).toContain('Hello');
    }
    expect(counts()).toBe(before + 1);
    expect(host.lines.findLast((line) => line.includes('is killed'))).toContain(
      'sent wake-ups without a reason',
    );
    await guest.pool.close({ graceMs: 0 });
  });
});
