// From the command line to the command: the only place that knows every mode. Each is loaded when it is
// chosen.
import { createSystemClock } from '../base/clock.ts';
import { systemRandom } from '../base/id.ts';
import { CliFailure } from '../cli/failure.ts';
import { createTerminal } from '../cli/terminal.ts';
import { versionOfProgram } from './embedded/assets.ts';
import { inputsOfProcess } from '../config/inputs.ts';
import { parseConfig } from '../config/parse.ts';
import { printSettings } from '../config/print.ts';
import { type Command, type Context, isClientCommand } from './modes/context.ts';

/** The roles of short-lived children; returns the exit code. */
export async function answerChild(role: 'unpack' | 'check'): Promise<number> {
  if (role === 'check') await (await import('./roles/check_role.ts')).runCheckRole();
  else await (await import('./roles/unpack_role.ts')).runUnpackRole();
  return 0;
}

/** Runs what the person asked for and returns the exit code: 0 done, 1 failed, 2 not understood. */
export async function start(): Promise<number> {
  const { argv, env } = inputsOfProcess();
  const clock = createSystemClock();
  const terminal = createTerminal({ stdout: process.stdout, stderr: process.stderr, clock });
  const parsed = parseConfig(argv, env);
  if (parsed.kind === 'help') {
    terminal.printText(parsed.text);
    return 0;
  }
  if (parsed.kind === 'usage') {
    terminal.note(`edge: ${parsed.message}`);
    return 2;
  }
  const isLogRead = process.stdout.isTTY === true;
  const context: Context = { terminal, clock, random: systemRandom, env, isLogRead };
  try {
    return await run(parsed, context);
  } catch (failure) {
    terminal.fail(failure);
    return failure instanceof CliFailure && failure.code === 'usage' ? 2 : 1;
  }
}

async function run(chosen: Command, context: Context): Promise<number> {
  switch (chosen.command) {
    case 'version':
      return showVersion(chosen.settings, context);
    case 'config':
      return showConfig(chosen.words[0] ?? 'text', chosen.settings, context);
    case 'up':
      return (await import('./modes/up_mode.ts')).runUp(chosen.settings, context);
    case 'cp':
      return (await import('./modes/control_mode.ts')).runControl(chosen.settings, context);
    case 'edge':
      return (await import('./modes/edge_mode.ts')).runEdge(chosen.settings, context);
    case 'run':
      return (await import('./modes/run_mode.ts')).runModule(chosen.words[0] ?? '', chosen.settings, context);
    default:
      if (isClientCommand(chosen)) return (await import('./modes/client_mode.ts')).runClient(chosen, context);
      throw new CliFailure('usage', 'This command is not known.');
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
    throw new CliFailure(
      'usage',
      `config: expected text or markdown, not ${JSON.stringify(format.slice(0, 80))}`,
    );
  }
  terminal.printText(printSettings(settings.json ? 'json' : format));
  return 0;
}
