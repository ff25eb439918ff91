// Collects garbage in the quiet moments after work, so that the memory of a burst goes back to the system.
import { HEAP_TUNING } from './limits/memory.ts';

export type IdleCollector = {
  /** Collects if this is the moment for it; called every `HEAP_TUNING.pollMs`. */
  poll(): void;
};

/**
 * `cpuMs` is the processor time that this process has used so far. `collect` stops the main thread for some
 * tens of milliseconds, so it is called while the process is idle, a few times after each burst of work. A
 * process above `HEAP_TUNING.residentBytes` that never pauses is collected while it works; one up to
 * `HEAP_TUNING.smallBytes` is never collected.
 */
export function createIdleCollector(options: {
  cpuMs: () => number;
  residentBytes: () => number;
  collect: () => void;
}): IdleCollector {
  const { collect, cpuMs, residentBytes } = options;
  let lastCpuMs = cpuMs();
  let collectionsDue = 0;
  let busyPolls = 0;
  const isOverdue = (): boolean => {
    busyPolls += 1;
    return busyPolls >= HEAP_TUNING.busyPolls && residentBytes() > HEAP_TUNING.residentBytes;
  };
  return {
    poll() {
      const isIdle = cpuMs() - lastCpuMs < HEAP_TUNING.workMs;
      if (!isIdle) collectionsDue = HEAP_TUNING.collections;
      const isWorthwhile = collectionsDue > 0 && residentBytes() > HEAP_TUNING.smallBytes;
      if (isWorthwhile && (isIdle || isOverdue())) {
        if (isIdle) collectionsDue -= 1;
        busyPolls = 0;
        collect();
      }
      lastCpuMs = cpuMs();
    },
  };
}

/** Polls this process until it is disposed of; the timer does not keep the process alive. */
export function openIdleCollector(): Disposable {
  const collector = createIdleCollector({
    cpuMs() {
      const { system, user } = process.cpuUsage();
      return (system + user) / 1_000;
    },
    residentBytes: () => process.memoryUsage.rss(),
    collect: () => Bun.gc(true),
  });
  const timer = setInterval(() => collector.poll(), HEAP_TUNING.pollMs);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
