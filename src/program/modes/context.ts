// What every mode is given, and the commands by their kind.
import type { Clock } from '../../base/clock.ts';
import type { RandomBytes } from '../../base/id.ts';
import type { Terminal } from '../../cli/terminal.ts';
import type { Environment } from '../../config/inputs.ts';
import type { ChosenCommand } from '../../config/parse.ts';
import { CLIENT, type ClientCommand } from '../../config/row.ts';

export type Context = {
  terminal: Terminal;
  clock: Clock;
  random: RandomBytes;
  env: Environment;
  /** The log goes to stdout; on a terminal a person reads it. */
  isStdoutTerminal: boolean;
};

export type ChosenClientCommand = Extract<ChosenCommand, { command: ClientCommand }>;

export function isClientCommand(chosen: ChosenCommand): chosen is ChosenClientCommand {
  return CLIENT.some((name) => name === chosen.command);
}
