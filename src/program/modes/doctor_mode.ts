// `edge doctor`: tries the wall around guests, and checks the artifacts of a control plane that is here.
import { resolve } from 'node:path';
import { createLog } from '../../base/log.ts';
import { CliFailure } from '../../cli/failure.ts';
import { printArtifacts } from '../../cli/artifacts.ts';
import { printWall } from '../../cli/wall.ts';
import type { SettingsOf } from '../../config/settings.ts';
import { tryWall } from '../../engine/process/try_wall.ts';
import type { ArtifactsReport } from '../../model/artifact.ts';
import { necessaryMissing, type WallReport } from '../../model/wall.ts';
import { inspectArtifacts } from '../../store/artifacts/inspect.ts';
import { commandOfProgram } from '../child.ts';
import type { Context } from './context.ts';
import { openLibraries } from './node.ts';

export async function runDoctorMode(settings: SettingsOf<'doctor'>, context: Context): Promise<number> {
  const { terminal } = context;
  const dataDir = resolve(settings.dataDir);
  const report = await examine(dataDir, context);
  const artifacts = await examineArtifacts(dataDir);
  const isSafe = necessaryMissing(report).length === 0;
  if (settings.json) terminal.printJson({ guests_may_run: isSafe, wall: report, artifacts });
  else {
    printWall(terminal, report);
    if (artifacts !== null) printArtifacts(terminal, artifacts);
  }
  return isSafe && (artifacts?.broken.length ?? 0) === 0 ? 0 : 1;
}

/** Null where no control plane has its data here. */
async function examineArtifacts(dataDir: string): Promise<ArtifactsReport | null> {
  try {
    return await inspectArtifacts(dataDir);
  } catch (failure) {
    const reason = failure instanceof Error ? failure.message : String(failure);
    throw new CliFailure('database_unusable', `The artifacts cannot be checked: ${reason}.`, {
      hint: `Is control.db in ${dataDir} readable for this user, and whole? Otherwise restore a copy of it.`,
    });
  }
}

async function examine(dataDir: string, context: Context): Promise<WallReport> {
  const { clock } = context;
  const libraries = await openLibraries(dataDir, context);
  const lines: string[] = [];
  const log = createLog({ clock, level: 'warn', write: (line) => void lines.push(line) });
  try {
    return await tryWall({ libraryDir: libraries.dir, command: commandOfProgram(), clock, log });
  } catch (failure) {
    const reason = failure instanceof Error ? failure.message : String(failure);
    throw new CliFailure('engine_unusable', `The engine does not start on this machine: ${reason}.`, {
      hint: lines.length === 0 ? 'It said nothing more.' : `It said: ${lines.join(' ').slice(0, 2_000)}`,
    });
  }
}
