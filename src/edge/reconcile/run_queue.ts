// A queue whose items run, a bounded number of them at the same time.

export type RunQueue<T> = {
  add(item: T): void;
  /** Makes `item` the next to run, if it waits. */
  moveToFront(item: T): void;
  /** Lets items run; before, they only wait. */
  start(): void;
  /** Forgets what waits; resolves when what runs has ended. */
  close(): Promise<void>;
};

/** `run` never rejects. The caller adds an item again only after its run has ended. */
export function createRunQueue<T>(options: {
  parallelMax: number;
  run: (item: T) => Promise<void>;
}): RunQueue<T> {
  const { parallelMax, run } = options;
  const runs = new Set<Promise<void>>();
  let waiting: T[] = [];
  let isStarted = false;

  const runNext = (): void => {
    while (isStarted && runs.size < parallelMax) {
      const item = waiting.shift();
      if (item === undefined) return;
      const ended = run(item).finally(() => {
        runs.delete(ended);
        runNext();
      });
      runs.add(ended);
    }
  };

  return {
    add(item) {
      waiting.push(item);
      runNext();
    },
    moveToFront(item) {
      const at = waiting.indexOf(item);
      if (at > 0) waiting.unshift(...waiting.splice(at, 1));
    },
    start() {
      isStarted = true;
      runNext();
    },
    async close() {
      waiting = [];
      await Promise.all(runs);
    },
  };
}
