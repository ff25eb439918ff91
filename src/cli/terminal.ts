// Writes to the terminal: results to stdout, notes, failures and progress to stderr.
import type { Clock } from '../base/clock.ts';
import { CliFailure } from './failure.ts';

/** A stream that text goes to, such as process.stdout. */
export type Sink = { write(text: string): unknown; readonly isTTY?: boolean | undefined };

/**
 * Shows the progress of work that takes more than a second: on a terminal a bar that is redrawn in place,
 * elsewhere one line.
 */
export type Meter = { update(done: number, text: string): void; close(): void };

export type Terminal = {
  /** Whether stderr is a terminal. */
  readonly isInteractive: boolean;
  print(line: string): void;
  /** Text of this program itself, with its line ends. */
  printText(text: string): void;
  printJson(value: unknown): void;
  /** Pads each column to its widest cell; the first row is the header. */
  printTable(rows: readonly (readonly string[])[]): void;
  /** One line on stderr. */
  note(line: string): void;
  /** Text as it is, on stderr. */
  write(text: string): void;
  /** `edge: code: message`, and the hint of a CliFailure on a second line. */
  fail(failure: unknown): void;
  openMeter(options: { total: number }): Meter;
};

const METER_AFTER_MS = 1_000;
const METER_EVERY_MS = 100;
const BAR_WIDTH = 24;

export function createTerminal(options: { stdout: Sink; stderr: Sink; clock: Clock }): Terminal {
  const { stdout, stderr, clock } = options;
  const isInteractive = stderr.isTTY === true;
  return {
    isInteractive,
    print: (line) => void stdout.write(`${printable(line)}\n`),
    printText: (text) => void stdout.write(text),
    printJson: (value) => void stdout.write(`${JSON.stringify(value)}\n`),
    printTable: (rows) => void stdout.write(layOut(rows)),
    note: (line) => void stderr.write(`${printable(line)}\n`),
    write: (text) => void stderr.write(text),
    fail: (failure) => void stderr.write(describeFailure(failure)),
    openMeter: ({ total }) => openMeter({ total, stderr, clock, isInteractive }),
  };
}

function describeFailure(failure: unknown): string {
  if (!(failure instanceof CliFailure)) {
    const message = failure instanceof Error ? failure.message : String(failure);
    return `edge: ${printable(message)}\n`;
  }
  const hint = failure.hint === null ? '' : `  ${printable(failure.hint)}\n`;
  const code = failure.code === 'usage' ? '' : `${failure.code}: `;
  return `edge: ${code}${printable(failure.message)}\n${hint}`;
}

function layOut(rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map(printable));
  const columns = Math.max(0, ...cells.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, at) =>
    Math.max(...cells.map((row) => row[at]?.length ?? 0)),
  );
  return cells
    .map(
      (row) =>
        `${row
          .map((cell, at) => cell.padEnd(widths[at] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

/** Shows control characters as a space, so that text of a server or a guest cannot control the terminal. */
function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]+/g, ' ');
}

function openMeter(options: { total: number; stderr: Sink; clock: Clock; isInteractive: boolean }): Meter {
  const { total, stderr, clock, isInteractive } = options;
  const startedMs = clock.monotonicMs();
  let drawnMs = Number.NEGATIVE_INFINITY;
  let isShown = false;
  return {
    update(done, text) {
      const nowMs = clock.monotonicMs();
      if (nowMs - startedMs < METER_AFTER_MS || nowMs - drawnMs < METER_EVERY_MS) return;
      if (isShown && !isInteractive) return;
      isShown = true;
      drawnMs = nowMs;
      const filled = total === 0 ? BAR_WIDTH : Math.round((Math.min(done, total) / total) * BAR_WIDTH);
      const bar = '█'.repeat(filled).padEnd(BAR_WIDTH, '░');
      stderr.write(isInteractive ? `\r\u001b[2K${bar} ${printable(text)}` : `${printable(text)}\n`);
    },
    close() {
      if (isShown && isInteractive) stderr.write('\r\u001b[2K');
      isShown = false;
    },
  };
}
