// Writes log lines as JSON to stdout; callers pass named fields only, which keeps secrets out.
import type { Clock } from './clock.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFields = Record<string, unknown>;

export type Log = {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log with `fields` added to every line. */
  with(fields: LogFields): Log;
};

const LEVELS: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

/**
 * For servers: a line that a full disk or a closed pipe refuses is lost, and the process goes on. Without this
 * the first such line ends it.
 */
export function outliveOutput(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
}

export function createLog(options: {
  clock: Clock;
  level?: LogLevel;
  write?: (line: string) => void;
  fields?: LogFields;
}): Log {
  const { clock, level = 'info', fields: own = {} } = options;
  const write = options.write ?? ((line: string): void => void process.stdout.write(line));
  const emit = (at: LogLevel, message: string, fields: LogFields): void => {
    if (LEVELS[at] < LEVELS[level]) return;
    const time = new Date(clock.nowMs()).toISOString();
    write(`${JSON.stringify({ time, level: at, message, ...own, ...fields })}\n`);
  };
  return {
    debug: (message, fields = {}) => emit('debug', message, fields),
    info: (message, fields = {}) => emit('info', message, fields),
    warn: (message, fields = {}) => emit('warn', message, fields),
    error: (message, fields = {}) => emit('error', message, fields),
    with: (fields) => createLog({ clock, level, write, fields: { ...own, ...fields } }),
  };
}
