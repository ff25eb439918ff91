// Turns the words and variables that a person gave into one command with checked settings, or into a usage
// error.
import { Command, CommanderError, Help, Option, type ParseOptions } from 'commander';
import type { Environment } from './inputs.ts';
import { COMMANDS, COMMAND_NAMES } from './commands.ts';
import type { CommandName, SettingRow } from './row.ts';
import { type SettingsOf, settingsOf } from './settings.ts';

type CommandOf<C extends CommandName> = C extends CommandName
  ? { kind: 'command'; command: C; words: readonly string[]; settings: SettingsOf<C> }
  : never;

/** `help` is for stdout; `usage` is one line and ends the program with code 2. */
export type Parsed =
  CommandOf<CommandName> | { kind: 'help'; text: string } | { kind: 'usage'; message: string };

/** Flags beat variables, variables beat defaults. Pure: it reads nothing but its arguments. */
export function parseConfig(argv: readonly string[], env: Environment): Parsed {
  const { words, problem } = wordsWithMode(argv, env);
  if (problem !== null) return { kind: 'usage', message: problem };
  let output = '';
  let chosen: { command: CommandName; words: string[]; flags: Record<string, string[]> } | null = null;
  const program = createProgram(
    (text) => void (output += text),
    (choice) => void (chosen = choice),
  );
  try {
    program.parse(words, { from: 'user' } satisfies ParseOptions);
  } catch (failure) {
    if (!(failure instanceof CommanderError)) throw failure;
    if (failure.exitCode === 0 || failure.code === 'commander.help') return { kind: 'help', text: output };
    return { kind: 'usage', message: oneLine(failure.message) };
  }
  return chosen === null ? { kind: 'help', text: output } : settle(chosen, env);
}

/** `--mode=cp` and MODE stand for a command; `edge --version` is `edge version`. */
function wordsWithMode(
  argv: readonly string[],
  env: Environment,
): { words: string[]; problem: string | null } {
  const [first] = argv;
  if (first === '--version' || first === '-V') return { words: ['version', ...argv.slice(1)], problem: null };
  if (first !== undefined && !first.startsWith('-')) return { words: [...argv], problem: null };
  const at = argv.findIndex((word) => word === '--mode' || word.startsWith('--mode='));
  const isPair = argv[at] === '--mode';
  const given = at < 0 ? undefined : isPair ? (argv[at + 1] ?? '') : argv[at]?.slice('--mode='.length);
  const isHelp = at < 0 && argv.some((word) => word === '--help' || word === '-h');
  const mode = given ?? (isHelp ? undefined : env['MODE']);
  if (mode === undefined || (mode === '' && at < 0)) return { words: [...argv], problem: null };
  if (mode !== 'cp' && mode !== 'edge') {
    const source = at < 0 ? 'MODE' : '--mode';
    return { words: [], problem: `${source}: expected cp or edge, not ${quote(mode)}` };
  }
  const rest = at < 0 ? argv : argv.toSpliced(at, isPair ? 2 : 1);
  return { words: [mode, ...rest], problem: null };
}

type Chosen = { command: CommandName; words: string[]; flags: Record<string, string[]> };

function createProgram(write: (text: string) => void, choose: (chosen: Chosen) => void): Command {
  const program = new Command('edge');
  program
    .description(
      'WebAssembly edge functions from a single file.\n\n' +
        'Modes of a server that runs on its own:\n' +
        '  edge --mode=cp [options]      control plane (edge --mode=cp --help)\n' +
        '  edge --mode=edge [options]    edge node (edge --mode=edge --help)',
    )
    .usage('<command> [options]')
    .exitOverride()
    .configureOutput({ writeOut: write, writeErr: write, outputError: () => undefined })
    .configureHelp({ commandUsage: usageOf, helpWidth: 110 })
    .helpCommand('help [command]', 'Explain a command.')
    .addHelpText('after', '\nStart here:\n  edge up --demo\n\nEvery setting with its variable: edge config');
  for (const name of COMMAND_NAMES) {
    const { words, summary, details, examples, group, hidden } = COMMANDS[name];
    const command = program.command(name, hidden === true ? { hidden } : {}).helpGroup(`${group}:`);
    command.summary(summary).description(`${summary} ${details}`);
    for (const word of words) command.argument(word);
    for (const [setting, row] of settingsOf(name)) command.addOption(optionOf(setting, row));
    command.addHelpText(
      'after',
      `\n${examples.length > 1 ? 'Examples' : 'Example'}:\n  ${examples.join('\n  ')}`,
    );
    command.action(() => choose({ command: name, words: command.args, flags: command.opts() }));
  }
  return program;
}

/** Usage lines say how a command is reached, and keep commander's own line where it is right. */
function usageOf(command: Command): string {
  const row = COMMAND_NAMES.find((name) => name === command.name() && command.parent !== null);
  const usage = row === undefined ? undefined : COMMANDS[row].usage;
  return usage === undefined ? new Help().commandUsage(command) : `edge ${usage}`;
}

function optionOf(setting: string, row: SettingRow): Option {
  const { flag, kind } = row;
  const option = new Option(kind.placeholder === '' ? flag : `${flag} <${kind.placeholder}>`, describe(row));
  option.attributeName = () => setting;
  if (kind.placeholder !== '') {
    option.argParser((given: string, before: string[] | undefined) => [...(before ?? []), given]);
  }
  return option;
}

function describe(row: SettingRow): string {
  const facts = [
    row.kind.bounds,
    row.initial === null || row.initial === '' || row.initial === 'false' ? '' : `default: ${row.initial}`,
    row.variable === null ? '' : `env: ${row.variable}`,
  ].filter((fact) => fact !== '');
  return facts.length === 0 ? row.meaning : `${row.meaning} (${facts.join('; ')})`;
}

function settle(chosen: Chosen, env: Environment): Parsed {
  const settings: Record<string, unknown> = {};
  for (const [name, row] of settingsOf(chosen.command)) {
    const { source, texts } = textsOf(row, chosen.flags[name], env);
    if (texts === null) {
      settings[name] = null;
      continue;
    }
    const parsed = row.kind.parse(texts);
    if (!parsed.ok) {
      const given = row.secret === true ? '' : `, not ${quote(texts.join(' '))}`;
      return { kind: 'usage', message: `${source}: expected ${parsed.expected}${given}` };
    }
    settings[name] = parsed.value;
  }
  const { command, words } = chosen;
  if (command === 'edge' && settings['cpUrl'] === null) {
    return {
      kind: 'usage',
      message: '--mode=edge needs --cp-url URL (or CP_URL): the control plane it belongs to',
    };
  }
  return { kind: 'command', command, words, settings } as unknown as Parsed;
}

/** Where the texts of a setting come from; an empty variable counts as not set. */
function textsOf(
  row: SettingRow,
  flag: string[] | boolean | undefined,
  env: Environment,
): { source: string; texts: string[] | null } {
  if (flag !== undefined) return { source: row.flag, texts: Array.isArray(flag) ? flag : [String(flag)] };
  const held = row.variable === null ? undefined : env[row.variable];
  if (row.variable !== null && held !== undefined && held !== '')
    return { source: row.variable, texts: [held] };
  if (row.initial === null) return { source: row.flag, texts: null };
  return { source: row.flag, texts: row.initial === '' && row.kind.repeats ? [] : [row.initial] };
}

function quote(given: string): string {
  return JSON.stringify(given.length > 80 ? `${given.slice(0, 80)}…` : given);
}

function oneLine(message: string): string {
  return message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ');
}
