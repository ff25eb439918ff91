// The one table of settings, and the types of their values for each command.
import { CLIENT_SETTINGS } from './client_settings.ts';
import type { Kind } from './kinds.ts';
import type { CommandName, SettingRow } from './row.ts';
import { SERVER_SETTINGS } from './server_settings.ts';

const SETTINGS = { ...SERVER_SETTINGS, ...CLIENT_SETTINGS } as const;

type Table = typeof SETTINGS;
export type SettingName = keyof Table;

type ValueOf<R> = R extends { kind: Kind<infer T>; initial: infer I }
  ? I extends null
    ? T | null
    : T
  : never;

/** The settings of a command by name, with the types of their values. */
export type SettingsOf<C extends CommandName> = {
  [K in SettingName as C extends Table[K]['commands'][number] ? K : never]: ValueOf<Table[K]>;
};

/** The rows of a command, or of all commands, in the order of the table. */
export function settingsOf(command?: CommandName): [name: SettingName, row: SettingRow][] {
  const rows = Object.entries(SETTINGS) as [SettingName, SettingRow][];
  return command === undefined ? rows : rows.filter(([, row]) => row.commands.includes(command));
}
