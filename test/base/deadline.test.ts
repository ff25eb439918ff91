// Work within a deadline is late once the time is over or the signal aborts.
import { describe, expect, test } from 'bun:test';
import { createManualClock } from '../../src/base/clock.ts';
import { within } from '../../src/base/deadline.ts';

describe('Work within a deadline', () => {
  test('gives what the work resolves to', async () => {
    expect(await within(createManualClock(), 100, Promise.resolve(7))).toBe(7);
  });

  test('is late once the time is over', async () => {
    const clock = createManualClock();
    const outcome = within(clock, 100, new Promise<never>(() => {}));
    await clock.advance(100);
    expect(await outcome).toBe('late');
  });

  test('is late once the signal aborts', async () => {
    const stop = new AbortController();
    const outcome = within(createManualClock(), 100, new Promise<never>(() => {}), stop.signal);
    stop.abort();
    expect(await outcome).toBe('late');
  });

  test('rejects as the work does', async () => {
    await expect(within(createManualClock(), 100, Promise.reject(new Error('no')))).rejects.toThrow('no');
  });

  test('ignores the failure of late work', async () => {
    const clock = createManualClock();
    const work = Promise.withResolvers<never>();
    const outcome = within(clock, 100, work.promise);
    await clock.advance(100);
    work.reject(new Error('no'));
    expect(await outcome).toBe('late');
  });

  test('leaves no timer behind', async () => {
    let sleeping = 0;
    const clock = createManualClock();
    const sleep: typeof clock.sleep = async (ms, signal) => {
      sleeping += 1;
      await clock.sleep(ms, signal);
      sleeping -= 1;
    };
    await within({ ...clock, sleep }, 100, Promise.resolve());
    await Bun.sleep(0);
    expect(sleeping).toBe(0);
  });
});
