// Processor load of this machine and resident memory of this process.
import { cpus } from 'node:os';
import type { Clock } from '../../base/clock.ts';

export type MachineReading = { cpuPercent: number; memBytes: number };

const MEASURE_MS_MIN = 500;

/**
 * Returns a reading of the machine. The load is the share of busy time of all processors since the last
 * measurement; readings within 500 ms of it repeat it.
 */
export function createMachine(options: { clock: Clock }): () => MachineReading {
  const { clock } = options;
  const measure = (): { busy: number; total: number } => {
    let busy = 0;
    let total = 0;
    for (const { times } of cpus()) {
      const active = times.user + times.nice + times.sys + times.irq;
      busy += active;
      total += active + times.idle;
    }
    return { busy, total };
  };
  let before = measure();
  let measuredMs = clock.monotonicMs();
  let cpuPercent = 0;
  return () => {
    const nowMs = clock.monotonicMs();
    if (nowMs - measuredMs >= MEASURE_MS_MIN) {
      const now = measure();
      const total = now.total - before.total;
      if (total > 0) cpuPercent = Math.min(100, Math.max(0, (100 * (now.busy - before.busy)) / total));
      before = now;
      measuredMs = nowMs;
    }
    return { cpuPercent: Math.round(cpuPercent * 10) / 10, memBytes: process.memoryUsage.rss() };
  };
}
