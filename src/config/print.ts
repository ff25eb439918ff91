// Prints the table of settings: as text, as the README's section, and as JSON.
import type { SettingRow } from './row.ts';
import { settingsOf } from './settings.ts';

export type PrintFormat = 'text' | 'markdown' | 'json';

export function printSettings(format: PrintFormat): string {
  const rows = [MODE, ...settingsOf().map(([, row]) => row)];
  if (format === 'json') return `${JSON.stringify(rows.map(plain), null, 2)}\n`;
  if (format === 'markdown') return markdown(rows);
  return rows.map(paragraph).join('\n');
}

/** `--mode` chooses the command before any other flag is read, so it is no setting of a command. */
const MODE: SettingRow = {
  flag: '--mode',
  variable: 'MODE',
  kind: {
    placeholder: 'MODE',
    bounds: 'cp | edge',
    repeats: false,
    parse: () => ({ ok: true, value: null }),
  },
  initial: null,
  meaning: 'Start a control plane or an edge on its own; with a command it is not read.',
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

/** Commands that start something are named; those that talk to a control plane are many and go together. */
function shownCommands(row: SettingRow): string {
  const modes = row.commands.map((name) => (name === 'cp' || name === 'edge' ? `--mode=${name}` : name));
  if (modes.length <= 8) return modes.join(', ');
  return [...modes.filter((name) => SERVERS.includes(name)), 'the client'].join(', ');
}

const SERVERS: readonly string[] = ['up', '--mode=cp', '--mode=edge', 'run'];
