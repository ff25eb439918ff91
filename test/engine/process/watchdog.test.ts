// A zygote that answers keeps its engine process; one that stays silent is reported, and then given up.
import { beforeEach, describe, expect, test } from 'bun:test';
import { createManualClock, type ManualClock } from '../../../src/base/clock.ts';
import { ENGINE_BOUNDS, ENGINE_TUNING } from '../../../src/base/limits/engine.ts';
import { createWatchdog, type Watchdog } from '../../../src/engine/process/watchdog.ts';

let clock: ManualClock;
let watchdog: Watchdog;
let ending: AbortController;
let pings = 0;
let silences = 0;
let isStopped = false;

beforeEach(() => {
  clock = createManualClock();
  ending = new AbortController();
  pings = 0;
  silences = 0;
  isStopped = false;
  watchdog = createWatchdog({
    clock,
    ping: () => void (pings += 1),
    isStopped: () => isStopped,
    silent: () => void (silences += 1),
    signal: ending.signal,
  });
});

async function pass(intervals: number): Promise<void> {
  for (let count = 0; count < intervals; count += 1) await clock.advance(ENGINE_TUNING.pingIntervalMs);
}

describe('The watchdog', () => {
  test('keeps a zygote that answers each ping', async () => {
    for (let count = 1; count <= 3 * ENGINE_BOUNDS.pingsUnanswered; count += 1) {
      await pass(1);
      expect(pings).toBe(count);
      watchdog.pong();
    }
    expect(watchdog.isAnswering()).toBe(true);
    expect(silences).toBe(0);
  });

  test('says after a few pings that nobody answers, and takes that back at the next answer', async () => {
    await pass(ENGINE_TUNING.pingsMissed - 1);
    expect(watchdog.isAnswering()).toBe(true);
    await pass(1);
    expect(watchdog.isAnswering()).toBe(false);
    watchdog.pong();
    expect(watchdog.isAnswering()).toBe(true);
  });

  test('gives up a silent zygote once, and pings no more', async () => {
    await pass(ENGINE_BOUNDS.pingsUnanswered);
    expect(silences).toBe(0);
    await pass(5);
    expect(silences).toBe(1);
    expect(pings).toBe(ENGINE_BOUNDS.pingsUnanswered);
  });

  test('gives up a stopped one at once, which is within two seconds', async () => {
    isStopped = true;
    await pass(ENGINE_TUNING.pingsMissed);
    expect(silences).toBe(0);
    await pass(1);
    expect(silences).toBe(1);
    expect((ENGINE_TUNING.pingsMissed + 1) * ENGINE_TUNING.pingIntervalMs).toBeLessThan(2_000);
  });

  test('keeps a stopped one that still answers', async () => {
    isStopped = true;
    for (let count = 0; count < 2 * ENGINE_BOUNDS.pingsUnanswered; count += 1) {
      await pass(1);
      watchdog.pong();
    }
    expect(silences).toBe(0);
  });

  test('ends with its process', async () => {
    await pass(1);
    ending.abort();
    await pass(2 * ENGINE_BOUNDS.pingsUnanswered);
    expect(pings).toBe(1);
    expect(silences).toBe(0);
  });
});
