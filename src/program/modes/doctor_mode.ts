// `edge doctor`: tries the wall around guests on this machine and prints what it found.
import { resolve } from 'node:path';
import { createLog } from '../../base/log.ts';
import { CliFailure } from '../../cli/failure.ts';
import { printWall } from '../../cli/wall.ts';
import type { SettingsOf } from '../../config/settings.ts';
import { tryWall } from '../../engine/process/try_wall.ts';
import { necessaryMissing, type WallReport } from '../../model/wall.ts';
import { commandOfProgram } from '../child.ts';
import type { Context } from './context.ts';
import { openLibraries } from './node.ts';

export async function runDoctorMode(settings: SettingsOf<'doctor'>, context: Context): Promise<number> {
  const { terminal } = context;
  const report = await examine(resolve(settings.dataDir), context);
  const isSafe = necessaryMissing(report).length === 0;
  if (settings.json) terminal.printJson({ guests_may_run: isSafe, wall: report });
  else printWall(terminal, report);
  return isSafe ? 0 : 1;
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
