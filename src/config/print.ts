// Prints the table of settings as text, as the README's table and as JSON.
import { CLIENT, type SettingRow } from './row.ts';
import { settingsOf } from './settings.ts';

export type PrintFormat = 'text' | 'markdown' | 'json';

export function printSettings(format: PrintFormat): string {
  const rows = [MODE, ...settingsOf().map(([, row]) => row)];
  if (format === 'json') return `${JSON.stringify(rows.map(plain), null, 2)}\n`;
  if (format === 'markdown') return markdown(rows);
  return rows.map(paragraph).join('\n');
}

/** Not in the table of settings: `--mode` chooses the command, which decides which settings there are. */
const MODE: SettingRow = {
  flag: '--mode',
  variable: 'MODE',
  kind: {
    placeholder: 'MODE',
    bounds: 'cp or edge',
    repeats: false,
    parse: () => ({ ok: true, value: null }),
  },
  initial: null,
  meaning: 'Start a control plane or an edge alone. Ignored when a command is given.',
  commands: ['cp', 'edge'],
};

function plain(row: SettingRow): Record<string, unknown> {
  const { flag, variable, kind, initial, meaning, commands } = row;
  return { flag, variable, default: initial, bounds: kind.bounds, repeats: kind.repeats, meaning, commands };
}

function paragraph(row: SettingRow): string {
  const value = row.kind.placeholder === '' ? '' : ` ${row.kind.placeholder}`;
  const facts = [
    ...(row.variable === null ? [] : [`variable ${row.variable}`]),
    `default ${shownDefault(row) || 'not set'}`,
    ...(row.kind.bounds === '' ? [] : [row.kind.bounds]),
  ];
  return `${row.flag}${value}\n    ${row.meaning}\n    ${facts.join('; ')}\n    for ${shownCommands(row)}\n`;
}

function markdown(rows: readonly SettingRow[]): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
  const lines = rows.map((row) => {
    const flag = `\`${row.flag}\``;
    const variable = row.variable === null ? '' : `\`${row.variable}\``;
    const initial = shownDefault(row) === '' ? '' : `\`${shownDefault(row)}\``;
    const meaning = row.kind.bounds === '' ? row.meaning : `${row.meaning} (${row.kind.bounds})`;
    return `| ${flag} | ${variable} | ${initial} | ${cell(meaning)} | ${shownCommands(row)} |`;
  });
  return `| flag | variable | default | meaning | for |\n|---|---|---|---|---|\n${lines.join('\n')}\n`;
}

function shownDefault(row: SettingRow): string {
  return row.initial === 'false' ? 'off' : (row.initial ?? '');
}

/** The commands by name; where most client commands take the setting, these as `client commands`. */
function shownCommands(row: SettingRow): string {
  const isClient = (name: string): boolean => CLIENT.some((one) => one === name);
  const isForMost = row.commands.filter(isClient).length > CLIENT.length / 2;
  const named = isForMost ? row.commands.filter((name) => !isClient(name)) : row.commands;
  const shown = named.map((name) => (name === 'cp' || name === 'edge' ? `--mode=${name}` : name));
  return [...shown, ...(isForMost ? ['client commands'] : [])].join(', ');
}
