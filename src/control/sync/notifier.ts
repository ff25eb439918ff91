// Lets requests wait for a change, and wakes them in the tick in which it happens.
import type { Clock } from '../../base/clock.ts';

/**
 * `version` rises with every wake. A waiter passes the version at which it last read, so that it does not
 * miss a change between its reading and its wait.
 */
export type Notifier = {
  readonly version: number;
  /** Every wait then ends at once: whoever waits in a loop must leave it. */
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
    for (const waiter of Array.from(waiters)) waiter();
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
