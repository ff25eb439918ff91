// What every mode is given, and the commands by their kind.
import type { Clock } from '../../base/clock.ts';
import type { RandomBytes } from '../../base/id.ts';
import type { Terminal } from '../../cli/terminal.ts';
import type { Environment } from '../../config/inputs.ts';
import type { Parsed } from '../../config/parse.ts';
import { CLIENT, type ClientCommand } from '../../config/row.ts';

/** `isLogRead`: a person looks at stdout, where the log goes. */
export type Context = {
  terminal: Terminal;
  clock: Clock;
  random: RandomBytes;
  env: Environment;
  isLogRead: boolean;
};

/** A command with its words and checked settings. */
export type Command = Extract<Parsed, { kind: 'command' }>;
export type ClientChoice = Extract<Command, { command: ClientCommand }>;

export function isClientCommand(chosen: Command): chosen is ClientChoice {
  return CLIENT.some((name) => name === chosen.command);
}
