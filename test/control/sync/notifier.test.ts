// The notifier: every waiter wakes with a change, and no change is missed.
import { describe, expect, test } from 'bun:test';
import { createManualClock } from '../../../src/base/clock.ts';
import { createNotifier } from '../../../src/control/sync/notifier.ts';

describe('A notifier', () => {
  const signal = new AbortController().signal;

  test('wakes every waiter at once, and each only once', async () => {
    const notifier = createNotifier({ clock: createManualClock() });
    const woken: number[] = [];
    for (const index of [1, 2]) {
      void notifier.wait({ seen: 0, ms: 1_000, signal }).then(() => woken.push(index));
    }
    notifier.wake();
    await Promise.resolve();
    expect(woken).toEqual([1, 2]);
  });

  test.each([
    ['a change between the reading and the wait', { seen: -1, ms: 1_000, signal }],
    ['no time left', { seen: 0, ms: 0, signal }],
    ['a caller who has left', { seen: 0, ms: 1_000, signal: AbortSignal.abort() }],
  ])('does not wait with %s', async (_, options) => {
    await createNotifier({ clock: createManualClock() }).wait(options);
  });

  test('ends a wait after its time, when its caller leaves, and when it closes', async () => {
    const clock = createManualClock();
    const notifier = createNotifier({ clock });
    const leaving = new AbortController();
    let ended = 0;
    void notifier.wait({ seen: 0, ms: 10, signal }).then(() => (ended += 1));
    void notifier.wait({ seen: 0, ms: 1_000, signal: leaving.signal }).then(() => (ended += 1));
    void notifier.wait({ seen: 0, ms: 1_000, signal }).then(() => (ended += 1));
    await clock.advance(10);
    expect(ended).toBe(1);
    leaving.abort();
    await clock.advance(0);
    expect(ended).toBe(2);
    notifier.close();
    await clock.advance(0);
    expect([ended, notifier.closed]).toEqual([3, true]);
    await notifier.wait({ seen: 0, ms: 1_000, signal });
  });
});
