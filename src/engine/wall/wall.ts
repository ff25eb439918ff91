// The wall around guests of one engine: what was tried, what follows from it, and the log of it.
import { totalmem } from 'node:os';
import { ENGINE_BOUNDS } from '../../base/limits/engine.ts';
import type { Log } from '../../base/log.ts';
import {
  holdsCompiler,
  missingParts,
  necessaryMissing,
  type WallPart,
  type WallReport,
  wallRow,
} from '../../model/wall.ts';
import { type CgroupOutcome, openCgroup, SYSTEM_FILES } from './cgroup.ts';

/** Why no worker may start behind this wall; null where one may. */
export function refusalOf(report: WallReport, options: { allowsWeak: boolean }): string | null {
  const necessary = necessaryMissing(report);
  if (necessary.length === 0 || options.allowsWeak) return null;
  const named = necessary.map(({ part, reason }) => `${part} (${reason ?? 'no reason'})`).join(', ');
  return (
    `This machine lacks what keeps a guest in: ${named}. \`edge doctor\` says what to do; ` +
    '--allow-weak-walls runs guests all the same.'
  );
}

/** The wall of an engine, over all processes that it starts one after the other. */
export type EngineWall = {
  /** Whether guests may run where a necessary part is missing. */
  readonly allowsWeak: boolean;
  /** Puts an engine process that was just spawned into the cgroup; the part of the wall that this is. */
  confine(pid: number): WallPart;
  /** Logs a report that differs from the one before. */
  tried(report: WallReport): void;
  /** What the last engine process found that tried its wall; null before the first. */
  latest(): WallReport | null;
  /** Once the wall was tried: why no guest may run behind it; rejects when given up or closed before. */
  refusal(): Promise<string | null>;
  mayCompile(): boolean;
  /** No engine process will try it from now on. */
  giveUp(reason: Error): void;
  /** Called when no engine process is left. */
  close(): void;
};

export type EngineWallOptions = { log: Log; allowsWeak: boolean; cgroup: CgroupOutcome };

export function createWall({ log, allowsWeak, cgroup }: EngineWallOptions): EngineWall {
  let latest: WallReport | null = null;
  const first = Promise.withResolvers<WallReport>();
  first.promise.catch(() => undefined);
  return {
    allowsWeak,
    confine(pid) {
      if (!cgroup.ok) return { part: 'cgroup', state: 'missing', reason: cgroup.reason };
      if (cgroup.cgroup.add(pid)) return { part: 'cgroup', state: 'held', reason: null };
      return { part: 'cgroup', state: 'missing', reason: 'the kernel refused the engine process in it' };
    },
    tried(report) {
      if (!Bun.deepEquals(report, latest)) logWall(log, report);
      latest = report;
      first.resolve(report);
    },
    latest: () => latest,
    refusal: async () => refusalOf(await first.promise, { allowsWeak }),
    mayCompile: () => allowsWeak || holdsCompiler(latest ?? []),
    giveUp: (reason) => first.reject(reason),
    close() {
      first.reject(new Error('the engine is closed'));
      if (cgroup.ok) cgroup.cgroup.close();
    },
  };
}

/** A cgroup for the engine processes of this machine and their `workers`. */
export function openEngineCgroup(workers: number): CgroupOutcome {
  return openCgroup({
    files: SYSTEM_FILES,
    root: '/sys/fs/cgroup',
    pid: process.pid,
    memoryBytesMax: Math.floor(totalmem() * ENGINE_BOUNDS.memoryShareMax),
    pidsMax: workers + ENGINE_BOUNDS.otherTasksMax,
  });
}

/** One line for each missing part, and one for the whole. */
function logWall(log: Log, report: WallReport): void {
  const missing = missingParts(report);
  for (const { part, reason } of missing) {
    const row = wallRow(part);
    log.warn('a part of the wall around guests is missing', {
      part,
      reason,
      without_it: row === null ? null : `it is not certain that ${row.keeps}`,
      advice: row?.advice ?? null,
    });
  }
  const parts = (state: WallPart['state']): string[] =>
    report.filter((one) => one.state === state).map(({ part }) => part);
  log.info('tried the wall around guests', {
    held: parts('held'),
    missing: parts('missing'),
    not_applicable: parts('not_applicable'),
  });
}
