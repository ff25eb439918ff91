// Tries the wall around guests of this machine: starts an engine process, takes its report, and ends it.
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { WallReport } from '../../model/wall.ts';
import { geometryOf } from '../ring/geometry.ts';
import { openRingLibrary } from '../ring/ring.ts';
import { startEngineProcess } from './engine_process.ts';
import { createWall, openEngineCgroup } from '../wall/wall.ts';

const SMALL = { workers: 1, requestBytesMax: 1, responseBytesMax: 1 };

/** Throws when the engine process ends or stays silent before it has tried every part. */
export async function tryWall(options: {
  /** Where libedge_ring.so, libedge_engine.so and libwasmedge lie. */
  libraryDir: string;
  /** Starts this program in the engine role, as the arguments of a spawn. */
  command: readonly string[];
  clock: Clock;
  log: Log;
}): Promise<WallReport> {
  const reports: WallReport[] = [];
  const handlers = {
    event: (): void => undefined,
    wakes: { woke: (): void => undefined, wake: (): void => undefined },
    ended: (): void => undefined,
    wall: (report: WallReport): void => void reports.push(report),
  };
  const cgroup = openEngineCgroup(SMALL.workers);
  const wall = createWall({ log: options.log, allowsWeak: false, cgroup });
  try {
    const process = await startEngineProcess({
      ...options,
      library: openRingLibrary(options.libraryDir),
      geometry: geometryOf(SMALL),
      wall,
      handlers,
    });
    await process.close();
  } catch (failure) {
    // A refused process has reported all the same.
    if (reports.length === 0) throw failure;
  } finally {
    wall.close();
  }
  const [report] = reports;
  if (report === undefined) throw new Error('the engine process did not try its wall');
  return report;
}
