// Turns a command line and the environment into one command with checked settings, or into a usage error.
import { Command, CommanderError, Help, Option, type ParseOptions } from 'commander';
import { COMMAND_NAMES, COMMANDS } from './commands.ts';
import type { Environment } from './inputs.ts';
import type { CommandName, SettingRow } from './row.ts';
import { type SettingsOf, settingsOf } from './settings.ts';

type CommandOf<C extends CommandName> = C extends CommandName
  ? { kind: 'command'; command: C; words: readonly string[]; settings: SettingsOf<C> }
  : never;

/** A command with its words (arguments without a flag) and its checked settings. */
export type ChosenCommand = CommandOf<CommandName>;

/** `help` is for stdout. `usage` is one line that says what is wrong, and one that says what to do. */
export type CommandLine = ChosenCommand | { kind: 'help'; text: string } | UsageError;
type UsageError = { kind: 'usage'; message: string; hint: string | null };

/** Flags beat variables, variables beat defaults. Pure: reads nothing but its arguments. */
export function parseCommandLine(argv: readonly string[], env: Environment): CommandLine {
  const { words, problem } = wordsWithMode(argv, env);
  if (problem !== null) return { kind: 'usage', message: problem, hint: null };
  let output = '';
  let selection: Selection | null = null;
  const program = createProgram(
    (text) => void (output += text),
    (selected) => void (selection = selected),
  );
  try {
    program.parse(words, { from: 'user' } satisfies ParseOptions);
  } catch (failure) {
    if (!(failure instanceof CommanderError)) throw failure;
    if (failure.exitCode === 0 || failure.code === 'commander.help') return { kind: 'help', text: output };
    return usageError(failure, words);
  }
  return selection === null ? { kind: 'help', text: output } : settle(selection, env);
}

/** `--mode=cp` and MODE stand for a command; `edge --version` is `edge version`. */
function wordsWithMode(
  argv: readonly string[],
  env: Environment,
): { words: string[]; problem: string | null } {
  const [first, ...others] = argv;
  if (first === 'help' && others.length > 0) return wordsWithMode(helpWords(others), env);
  if (first === '--version' || first === '-V') return { words: ['version', ...argv.slice(1)], problem: null };
  if (first !== undefined && !first.startsWith('-')) return { words: [...argv], problem: null };
  const at = argv.findIndex((word) => word === '--mode' || word.startsWith('--mode='));
  const isPair = argv[at] === '--mode';
  const given = isPair ? (argv[at + 1] ?? '') : argv[at]?.slice('--mode='.length);
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

/** `edge help WORDS` is `edge WORDS --help`; a first word that is no command is left to be refused. */
function helpWords([first = '', ...others]: readonly string[]): string[] {
  const isKnown = first.startsWith('-') || COMMAND_NAMES.some((name) => name === first);
  if (first === 'help') return ['--help'];
  return isKnown ? [first, ...others, '--help'] : [first];
}

/** What commander found: `flags` holds the texts of each setting that was given. */
type Selection = { command: CommandName; words: string[]; flags: Record<string, string[]> };

function createProgram(write: (text: string) => void, select: (selection: Selection) => void): Command {
  const program = new Command('edge');
  program
    .description(
      'WebAssembly edge functions from a single file.\n\n' +
        'Control plane and edges on separate machines:\n' +
        '  edge --mode=cp [options]      Start a control plane (edge --mode=cp --help).\n' +
        '  edge --mode=edge [options]    Start an edge node (edge --mode=edge --help).',
    )
    .usage('<command> [options]')
    .exitOverride()
    .configureOutput({ writeOut: write, writeErr: write, outputError: () => undefined })
    .configureHelp({ commandUsage: usageOf, helpWidth: 110 })
    .helpOption('-h, --help', 'Show this help.')
    .helpCommand('help [command]', 'Explain a command.')
    .addHelpText(
      'after',
      '\nStart here:\n  edge up --demo\n\n`edge config` lists every setting with its variable.',
    );
  for (const name of COMMAND_NAMES) {
    const { words, summary, details, examples, group, hidden } = COMMANDS[name];
    const command = program.command(name, hidden === true ? { hidden } : {}).helpGroup(`${group}:`);
    command
      .summary(summary)
      .description(`${summary}\n\n${details}`)
      .helpOption('-h, --help', 'Show this help.');
    for (const word of words) command.argument(word);
    for (const [setting, row] of settingsOf(name)) command.addOption(optionOf(setting, row));
    const title = examples.length > 1 ? 'Examples' : 'Example';
    command.addHelpText('after', `\n${title}:\n  ${examples.join('\n  ')}`);
    command.action(() => select({ command: name, words: command.args, flags: command.opts() }));
  }
  return program;
}

/** The usage of the table of commands; commander's own where the table has none. */
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

/** Commander's sentence as one line, with a second one that leads on. */
function usageError({ code, message }: CommanderError, words: readonly string[]): UsageError {
  const sentence = message
    .replace(/^error: /, '')
    .replace(/\s*\n\s*/g, ' ')
    .replace(/ for '(cp|edge)'/, ' for --mode=$1');
  return { kind: 'usage', message: sentence, hint: hintFor(code, sentence, words) };
}

function hintFor(code: string, sentence: string, words: readonly string[]): string {
  const name = COMMAND_NAMES.find((one) => one === words[0]);
  if (name === undefined) {
    const isFlagFirst = code === 'commander.unknownOption';
    return `${isFlagFirst ? 'Options follow a command. ' : ''}\`edge --help\` lists the commands.`;
  }
  if (sentence.startsWith("unknown option '--mode")) {
    return '--mode takes the place of a command: edge --mode=cp or edge --mode=edge.';
  }
  const shown = name === 'cp' || name === 'edge' ? `--mode=${name}` : name;
  const usage =
    COMMANDS[name].words.length === 0 ? '' : `Usage: edge ${name} ${COMMANDS[name].words.join(' ')}. `;
  return `${usage}\`edge ${shown} --help\` lists the options.`;
}

function settle(selection: Selection, env: Environment): CommandLine {
  const { command, words, flags } = selection;
  const settings: Record<string, unknown> = {};
  for (const [name, row] of settingsOf(command)) {
    const { source, texts } = textsOf(row, flags[name], env);
    if (texts === null) {
      settings[name] = null;
      continue;
    }
    const parsed = row.kind.parse(texts);
    if (!parsed.ok) {
      const given = row.secret === true ? '' : `, not ${quote(texts.join(' '))}`;
      return { kind: 'usage', message: `${source}: expected ${parsed.expected}${given}`, hint: null };
    }
    settings[name] = parsed.value;
  }
  if (command === 'edge' && settings['cpUrl'] === null) {
    const message = '--mode=edge needs --cp-url URL (or CP_URL): the control plane it belongs to';
    return { kind: 'usage', message, hint: '`edge --mode=edge --help` lists the options.' };
  }
  return { kind: 'command', command, words, settings } as unknown as ChosenCommand;
}

/** The texts of a setting, from flag, variable or default. An empty variable counts as not set. */
function textsOf(
  row: SettingRow,
  flag: string[] | boolean | undefined,
  env: Environment,
): { source: string; texts: string[] | null } {
  if (flag !== undefined) return { source: row.flag, texts: Array.isArray(flag) ? flag : [String(flag)] };
  const variable = row.variable === null ? undefined : env[row.variable];
  if (row.variable !== null && variable !== undefined && variable !== '')
    return { source: row.variable, texts: [variable] };
  if (row.initial === null) return { source: row.flag, texts: null };
  return { source: row.flag, texts: row.initial === '' && row.kind.repeats ? [] : [row.initial] };
}

function quote(given: string): string {
  return JSON.stringify(given.length > 80 ? `${given.slice(0, 80)}…` : given);
}
