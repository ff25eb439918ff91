// A worker that was taken over and misbehaves while it is idle is ended, and its neighbour notices little.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type Guest, openTestEngine, type TestEngine, textOf } from '../harness.ts';
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

describe.each(['spin', 'flood', 'lie'])('An idle worker that was told to %s', (attack) => {
  test(
    'is killed, while a neighbour gets every answer',
    async () => {
      const before = counts();
      const guest = await host.openGuest('hello/hello-c.wasm', { env: { ATTACK: attack } });
      expect(await guest.pool.warm(1)).toEqual({ ok: true });
      const endMs = performance.now() + FOUND_MS;
      while (counts() === before && performance.now() < endMs) {
        expect(textOf(await host.invoke(neighbour.pool))).toContain('Hello');
        await Bun.sleep(5);
      }
      expect(counts()).toBe(before + 1);
      expect(host.lines.join('\n')).toContain('used the processor without a request');
      await guest.pool.close({ graceMs: 0 });
    },
    2 * FOUND_MS,
  );
});
