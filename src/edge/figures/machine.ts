// What this machine and this process use: the load of the processors and resident memory.
import { cpus } from 'node:os';
import type { Clock } from '../../base/clock.ts';

export type MachineReading = { cpuPercent: number; memBytes: number };

const READING_MS_MIN = 500;

/**
 * The share of busy time over all processors since the reading before; readings closer than that repeat it.
 */
export function createMachine(options: { clock: Clock }): () => MachineReading {
  const { clock } = options;
  const take = (): { busy: number; total: number } => {
    let busy = 0;
    let total = 0;
    for (const { times } of cpus()) {
      const active = times.user + times.nice + times.sys + times.irq;
      busy += active;
      total += active + times.idle;
    }
    return { busy, total };
  };
  let before = take();
  let readMs = clock.monotonicMs();
  let cpuPercent = 0;
  return () => {
    const nowMs = clock.monotonicMs();
    if (nowMs - readMs >= READING_MS_MIN) {
      const now = take();
      const total = now.total - before.total;
      if (total > 0) cpuPercent = Math.min(100, Math.max(0, (100 * (now.busy - before.busy)) / total));
      before = now;
      readMs = nowMs;
    }
    return { cpuPercent: Math.round(cpuPercent * 10) / 10, memBytes: process.memoryUsage.rss() };
  };
}
