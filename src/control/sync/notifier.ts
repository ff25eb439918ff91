// Wakes whoever waits for something to move, in the tick in which it moved.
import type { Clock } from '../../base/clock.ts';

/**
 * `version` rises with every wake. A waiter names the version that it has seen, so that what moved between
 * its look and its wait is not missed.
 */
export type Notifier = {
  readonly version: number;
  /** True once it is closed: then a wait ends at once, and whoever waits in a loop must leave it. */
  readonly closed: boolean;
  wake(): void;
  /**
   * Resolves once `version` is past `seen`, after `ms`, when `signal` aborts, or when the notifier closes.
   */
  wait(options: { seen: number; ms: number; signal: AbortSignal }): Promise<void>;
  close(): void;
};

export function createNotifier(options: { clock: Clock }): Notifier {
  const { clock } = options;
  const waiters = new Set<() => void>();
  let version = 0;
  let closed = false;
  const wakeAll = (): void => {
    for (const waiter of [...waiters]) waiter();
  };
  return {
    get version() {
      return version;
    },
    get closed() {
      return closed;
    },
    wake() {
      version += 1;
      wakeAll();
    },
    wait: ({ seen, ms, signal }) =>
      new Promise((resolve) => {
        if (closed || version !== seen || signal.aborted || ms <= 0) return resolve();
        const sleep = new AbortController();
        const done = (): void => {
          waiters.delete(done);
          signal.removeEventListener('abort', done);
          sleep.abort();
          resolve();
        };
        waiters.add(done);
        signal.addEventListener('abort', done);
        void clock.sleep(ms, sleep.signal).then(done);
      }),
    close() {
      closed = true;
      wakeAll();
    },
  };
}
