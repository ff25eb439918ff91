// Gives memory back after work: what a burst left behind is collected in the quiet moments that follow.
import { HEAP_TUNING } from './limits/memory.ts';

export type HeapKeeper = {
  /** One look, once per `HEAP_TUNING.pollMs`. */
  look(): void;
};

/**
 * `cpuMs` is the processor time of this process so far. A collection stops the main thread for some tens of
 * milliseconds, so it waits for a quiet look after work, and there are a few of them, since pages go back in
 * more than one step. Above `HEAP_TUNING.residentBytes` work does not put it off for ever; up to
 * `HEAP_TUNING.smallBytes` there is nothing to gain.
 */
export function createHeapKeeper(options: {
  cpuMs: () => number;
  residentBytes: () => number;
  collect: () => void;
}): HeapKeeper {
  const { collect, cpuMs, residentBytes } = options;
  let seenMs = cpuMs();
  let wanted = 0;
  let busyLooks = 0;
  const isPressed = (): boolean => {
    busyLooks += 1;
    return busyLooks >= HEAP_TUNING.busyPolls && residentBytes() > HEAP_TUNING.residentBytes;
  };
  return {
    look() {
      const isQuiet = cpuMs() - seenMs < HEAP_TUNING.workMs;
      if (!isQuiet) wanted = HEAP_TUNING.collections;
      if (wanted > 0 && residentBytes() > HEAP_TUNING.smallBytes && (isQuiet || isPressed())) {
        if (isQuiet) wanted -= 1;
        busyLooks = 0;
        collect();
      }
      seenMs = cpuMs();
    },
  };
}

/** Looks until it is disposed of; does not keep the process alive. */
export function openHeapKeeper(): Disposable {
  const keeper = createHeapKeeper({
    cpuMs() {
      const { system, user } = process.cpuUsage();
      return (system + user) / 1_000;
    },
    residentBytes: () => process.memoryUsage.rss(),
    collect: () => Bun.gc(true),
  });
  const timer = setInterval(() => keeper.look(), HEAP_TUNING.pollMs);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
