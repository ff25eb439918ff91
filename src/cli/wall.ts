// Prints the wall around guests: part by part for one machine, in a word for a node of many.
import { missingParts, necessaryMissing, type WallPart, type WallReport, wallRow } from '../model/wall.ts';
import type { Terminal } from './terminal.ts';

/** A table of the parts, what to do about those that are missing, and whether guests may run. */
export function printWall(terminal: Terminal, report: WallReport): void {
  const rows = report.map((one) => [one.part, shownState(one), wallRow(one.part)?.keeps ?? '']);
  terminal.printTable([['PART', 'STATE', 'MEANS THAT'], ...rows]);
  const instead = report.filter(({ state }) => state === 'not_applicable');
  if (instead.length > 0) terminal.print('');
  for (const { part, reason } of instead) terminal.print(`${part} does not apply: ${reason ?? ''}`);
  for (const { part, reason } of missingParts(report)) {
    terminal.print('');
    terminal.print(`${part} is missing: ${reason ?? 'no reason'}`);
    terminal.print(`  ${wallRow(part)?.advice ?? ''}`);
  }
  terminal.print('');
  terminal.print(summaryOf(report));
}

function shownState({ part, state, reason }: WallPart): string {
  if (state === 'missing') return wallRow(part)?.isNecessary === true ? 'MISSING' : 'missing';
  if (state === 'not_applicable') return 'not applicable';
  return reason === null ? 'held' : `held (${reason})`;
}

function summaryOf(report: WallReport): string {
  const necessary = necessaryMissing(report).map(({ part }) => part);
  if (necessary.length > 0) {
    const named = necessary.join(', ');
    return `No guest runs on this machine without --allow-weak-walls: ${named} missing.`;
  }
  if (report.some(({ part, state }) => part === 'compile_files' && state === 'missing')) {
    return 'Guests may run, in the interpreter: nothing is compiled without compile_files.';
  }
  const missing = missingParts(report).length;
  if (missing === 0) return 'Guests may run: every part that applies is held.';
  return `Guests may run: every necessary part is held; ${missing} further missing.`;
}

/** For a table of nodes. */
export function wallWord(report: WallReport | null): string {
  if (report === null) return 'unknown';
  const missing = missingParts(report).map(({ part }) => part);
  return missing.length === 0 ? 'held' : `without ${missing.join(', ')}`;
}
