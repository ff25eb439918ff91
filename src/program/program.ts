// From the command line to the mode that runs it; loads only the mode that was chosen.
import { createSystemClock } from '../base/clock.ts';
import { systemRandom } from '../base/id.ts';
import { CliFailure } from '../cli/failure.ts';
import { createTerminal } from '../cli/terminal.ts';
import { inputsOfProcess } from '../config/inputs.ts';
import { type ChosenCommand, parseCommandLine } from '../config/parse.ts';
import { printSettings } from '../config/print.ts';
import { versionOfProgram } from './embedded/assets.ts';
import { type Context, isClientCommand } from './modes/context.ts';

/** Runs the role of a short-lived child; returns the exit code. */
export async function runRole(role: 'unpack' | 'check'): Promise<number> {
  if (role === 'check') await (await import('./roles/check_role.ts')).runCheckRole();
  else await (await import('./roles/unpack_role.ts')).runUnpackRole();
  return 0;
}

/** Runs the command that a person gave; returns the exit code: 0 done, 1 failed, 2 a usage error. */
export async function runCommandLine(): Promise<number> {
  const { argv, env } = inputsOfProcess();
  const clock = createSystemClock();
  const terminal = createTerminal({ stdout: process.stdout, stderr: process.stderr, clock });
  const line = parseCommandLine(argv, env);
  if (line.kind === 'help') {
    terminal.printText(line.text);
    return 0;
  }
  if (line.kind === 'usage') {
    terminal.fail(new CliFailure('usage', line.message, { hint: line.hint }));
    return 2;
  }
  const isStdoutTerminal = process.stdout.isTTY === true;
  const context: Context = { terminal, clock, random: systemRandom, env, isStdoutTerminal };
  try {
    return await run(line, context);
  } catch (failure) {
    terminal.fail(failure);
    return failure instanceof CliFailure && failure.code === 'usage' ? 2 : 1;
  }
}

async function run(chosen: ChosenCommand, context: Context): Promise<number> {
  switch (chosen.command) {
    case 'version':
      return showVersion(chosen.settings, context);
    case 'config':
      return showConfig(chosen.words[0] ?? 'text', chosen.settings, context);
    case 'doctor':
      return (await import('./modes/doctor_mode.ts')).runDoctorMode(chosen.settings, context);
    case 'up':
      return (await import('./modes/up_mode.ts')).runUpMode(chosen.settings, context);
    case 'cp':
      return (await import('./modes/control_mode.ts')).runControlMode(chosen.settings, context);
    case 'edge':
      return (await import('./modes/edge_mode.ts')).runEdgeMode(chosen.settings, context);
    case 'run': {
      const { runSingleMode } = await import('./modes/run_mode.ts');
      return runSingleMode(chosen.words[0] ?? '', chosen.settings, context);
    }
    default: {
      if (!isClientCommand(chosen)) throw new CliFailure('usage', 'This command is not known.');
      return (await import('./modes/client_mode.ts')).runClientMode(chosen, context);
    }
  }
}

function showVersion(settings: { json: boolean }, { terminal }: Context): number {
  const version = versionOfProgram();
  if (settings.json) terminal.printJson({ version, bun: Bun.version });
  else terminal.print(`edge ${version}`);
  return 0;
}

function showConfig(format: string, settings: { json: boolean }, { terminal }: Context): number {
  if (format !== 'text' && format !== 'markdown') {
    const given = JSON.stringify(format.slice(0, 80));
    throw new CliFailure('usage', `config: expected text or markdown, not ${given}`);
  }
  terminal.printText(printSettings(settings.json ? 'json' : format));
  return 0;
}
