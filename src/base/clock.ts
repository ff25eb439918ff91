// Clocks that callers are given: the system's, and one that a test advances by hand.

/** `nowMs` is wall time since the epoch; `monotonicMs` never goes back and has fractions of a millisecond. */
export type Clock = {
  nowMs(): number;
  monotonicMs(): number;
  /** Resolves after `ms` milliseconds, or as soon as `signal` aborts; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
};

export function createSystemClock(): Clock {
  return {
    nowMs: () => Date.now(),
    monotonicMs: () => performance.now(),
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted === true) return resolve();
        const done = (): void => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', done);
          resolve();
        };
        const timer = setTimeout(done, ms);
        signal?.addEventListener('abort', done);
      }),
  };
}

/** Times for what expires, both unlike wall time: a clock that is put back makes nothing live longer. */
export type SteadyTime = {
  /** Wall time at the start plus monotonic time since: no jump moves it. For what is kept for a while. */
  steadyMs(): number;
  /** Follows the wall clock forward and never goes back. For secrets, which may expire early, never late. */
  latestMs(): number;
};

export function createSteadyTime(clock: Clock): SteadyTime {
  const offsetMs = clock.nowMs() - clock.monotonicMs();
  let aheadMs = 0;
  const steadyMs = (): number => clock.monotonicMs() + offsetMs;
  return {
    steadyMs,
    latestMs() {
      aheadMs = Math.max(aheadMs, clock.nowMs() - steadyMs());
      return steadyMs() + aheadMs;
    },
  };
}

export type ManualClock = Clock & {
  /** Moves both times, and wakes the sleepers in the order of their times. */
  advance(ms: number): Promise<void>;
  /** Puts wall time forward or back, and nothing else. */
  jump(ms: number): void;
  /** Moves both times at once, as for a process that did not run: sleepers find that they woke late. */
  freeze(ms: number): Promise<void>;
};

/** A clock that moves only when it is told to. */
export function createManualClock(startMs = 0): ManualClock {
  let now = startMs;
  let jumpedMs = 0;
  const sleepers = new Set<{ atMs: number; wake: () => void }>();
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  return {
    nowMs: () => now + jumpedMs,
    monotonicMs: () => now,
    jump: (ms) => void (jumpedMs += ms),
    async freeze(ms) {
      now += ms;
      const late = [...sleepers].filter(({ atMs }) => atMs <= now).sort((a, b) => a.atMs - b.atMs);
      for (const sleeper of late) sleeper.wake();
      await turn();
    },
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted === true) return resolve();
        const sleeper = {
          atMs: now + ms,
          wake: (): void => {
            sleepers.delete(sleeper);
            signal?.removeEventListener('abort', sleeper.wake);
            resolve();
          },
        };
        sleepers.add(sleeper);
        signal?.addEventListener('abort', sleeper.wake);
      }),
    async advance(ms) {
      const end = now + ms;
      for (;;) {
        const next = [...sleepers].sort((a, b) => a.atMs - b.atMs)[0];
        if (next === undefined || next.atMs > end) break;
        now = next.atMs;
        next.wake();
        await turn();
      }
      now = end;
      await turn();
    },
  };
}
