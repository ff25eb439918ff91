// How long a server lives, how its start fails, and what is common to everything that listens.
import { createLog, type Log, type LogLevel } from '../../base/log.ts';
import { CliFailure } from '../../cli/failure.ts';
import { formatAddress } from '../../config/kinds.ts';
import type { ListenAddress } from '../../model/listen_address.ts';
import { claimDirectory, type ClaimRole } from '../../store/data_dir.ts';
import type { Context } from './context.ts';

/** One Ctrl-C may arrive twice: from the terminal, and from a parent such as npm that passes it on. */
const SAME_SIGNAL_MS = 500;

/** Resolves with the first SIGTERM or SIGINT; a later one ends the process with code 1 at once. */
export function stopSignal(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  let phase: 'running' | 'stopping' | 'impatient' = 'running';
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      if (phase === 'impatient') process.exit(1);
      if (phase === 'stopping') return;
      phase = 'stopping';
      setTimeout(() => (phase = 'impatient'), SAME_SIGNAL_MS).unref();
      resolve(name);
    });
  }
  return promise;
}

/** The log of a server: quiet where a person reads the same terminal, unless a level is asked for. */
export function openLog(context: Context, options: { level: LogLevel | null; isQuiet: boolean }): Log {
  const initial = options.isQuiet && context.isLogRead ? 'warn' : 'info';
  return createLog({ clock: context.clock, level: options.level ?? initial });
}

/** Where a server listens, and the flag that says so. */
export type Place = { flag: string; address: ListenAddress };

/** Runs what opens sockets; a port in use becomes one sentence that names it and the flag. */
export async function binding<T>(places: readonly Place[], open: () => T | Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (failure) {
    throw portFailure(failure, places) ?? failure;
  }
}

function portFailure(failure: unknown, places: readonly Place[]): CliFailure | null {
  if (!(failure instanceof Error) || !('code' in failure)) return null;
  const { code } = failure;
  if (code !== 'EADDRINUSE' && code !== 'EACCES' && code !== 'EADDRNOTAVAIL') return null;
  const port = Number(/port (\d+)/.exec(failure.message)?.[1] ?? Number.NaN);
  const named = places.filter(({ address }) => address.port === port);
  const [place] = named.length > 0 ? named : places;
  if (place === undefined) return null;
  const where = (named.length > 0 ? [place] : places)
    .map(({ address }) => formatAddress(address))
    .join(' or ');
  const reasons = {
    EADDRINUSE: 'is in use',
    EACCES: 'may not be used by this user',
    EADDRNOTAVAIL: 'is not of this machine',
  };
  return new CliFailure(
    code === 'EADDRINUSE' ? 'port_in_use' : 'address_unusable',
    `${where} ${reasons[code]}.`,
    {
      hint: `Choose another address with ${place.flag}.`,
    },
  );
}

/** The address under which this machine reaches a listener: of every interface, the loopback one. */
export function reachable(address: ListenAddress, port: number): string {
  const host = address.host === '0.0.0.0' ? '127.0.0.1' : address.host === '::' ? '::1' : address.host;
  return `http://${formatAddress({ host, port })}`;
}

/** No other process may have this data directory in this role; held until `closing` ends. */
export function claim(dir: string, role: ClaimRole, closing: AsyncDisposableStack): void {
  const held = claimDirectory(dir, role);
  if (held === null) {
    throw new CliFailure('data_dir_in_use', `${dir} is in use by another process.`, {
      hint: 'Stop that one, or choose another directory with --data-dir.',
    });
  }
  closing.defer(() => held.close());
}

/** Starts this program again: the executable alone, or Bun with the source that it runs. */
export function commandOfProgram(): string[] {
  return Bun.isStandaloneExecutable ? [process.execPath] : [process.execPath, Bun.main];
}
