// What all servers share: the signal that stops them, their log, their sockets and their data directory.
import { accessSync, constants, mkdirSync, readFileSync } from 'node:fs';
import { createFailpoints, type Failpoints, NO_FAILPOINTS } from '../../base/failpoints/failpoints.ts';
import { CONTROL_TUNING } from '../../base/limits/control.ts';
import { OPEN_FILES } from '../../base/limits/files.ts';
import { createLog, type Log, type LogLevel, outliveOutput } from '../../base/log.ts';
import { CliFailure } from '../../cli/failure.ts';
import { formatAddress } from '../../config/kinds.ts';
import { type DirectoryLock, lockDirectory } from '../../engine/directory_lock.ts';
import type { ListenAddress } from '../../model/listen_address.ts';
import { claimDirectory, type ClaimRole } from '../../store/data_dir.ts';
import type { Context } from './context.ts';

/** One Ctrl-C may arrive twice: from the terminal, and from a parent such as npm that passes it on. */
const SAME_SIGNAL_MS = 500;

/** Resolves with the first SIGTERM or SIGINT; a later one ends the process with code 1 at once. */
export function stopSignal(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  let isStopping = false;
  let mayExit = false;
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      if (mayExit) process.exit(1);
      if (isStopping) return;
      isStopping = true;
      setTimeout(() => (mayExit = true), SAME_SIGNAL_MS).unref();
      resolve(name);
    });
  }
  return promise;
}

/**
 * The log of a server at `level`. When that is null: `warn` for a server that is `isQuiet` on a terminal,
 * `info` otherwise.
 */
export function openLog(context: Context, options: { level: LogLevel | null; isQuiet: boolean }): Log {
  outliveOutput();
  const initial = options.isQuiet && context.isStdoutTerminal ? 'warn' : 'info';
  return createLog({ clock: context.clock, level: options.level ?? initial });
}

/** The failpoints that a test sets with EDGE_FAILPOINTS; none otherwise. */
export function openFailpoints(context: Context, log: Log): Failpoints {
  const text = context.env['EDGE_FAILPOINTS'];
  return text === undefined ? NO_FAILPOINTS : createFailpoints(text, { log });
}

/** An address that a server binds, and the flag that sets it. */
export type FlagAddress = { flag: string; address: ListenAddress };

/**
 * Runs `open`, which binds `addresses`. A failure to bind becomes a CliFailure that names the address and the
 * flag that changes it.
 */
export async function explainBindFailures<T>(
  addresses: readonly FlagAddress[],
  open: () => T | Promise<T>,
): Promise<T> {
  try {
    return await open();
  } catch (failure) {
    throw bindFailure(failure, addresses) ?? failure;
  }
}

/** Null for a failure that is not about an address; those of files carry a path. */
function bindFailure(failure: unknown, addresses: readonly FlagAddress[]): CliFailure | null {
  if (!(failure instanceof Error) || !('code' in failure) || 'path' in failure) return null;
  const port = Number(/(?:port |:)(\d+)/.exec(failure.message)?.[1] ?? Number.NaN);
  const named = addresses.filter(({ address }) => address.port === port).slice(0, 1);
  const suspects = named.length > 0 ? named : addresses;
  const where = suspects.map(({ address }) => formatAddress(address)).join(' or ');
  const sentence = bindSentence(failure, where);
  if (sentence === null) return null;
  const flags = suspects.map(({ flag }) => flag).join(' or ');
  return new CliFailure(failure.code === 'EADDRINUSE' ? 'port_in_use' : 'address_unusable', sentence, {
    hint: `Choose another address with ${flags}.`,
  });
}

function bindSentence(failure: Error & { code: unknown }, where: string): string | null {
  const { code } = failure;
  if (code === 'EADDRINUSE') return `${where} is in use by another process.`;
  if (code === 'EACCES') return `This user may not listen on ${where}.`;
  if (code === 'EADDRNOTAVAIL') return `${where} is not an address of this machine.`;
  // For a host name without an address, Bun reports whichever code the last system call left.
  const isListen = 'syscall' in failure && failure.syscall === 'listen';
  return isListen ? `Cannot listen on ${where}: check that the host name has an address.` : null;
}

/** What reaches a listener on every interface from this machine. */
const LOOPBACK: ReadonlyMap<string, string> = new Map([
  ['0.0.0.0', '127.0.0.1'],
  ['::', '::1'],
]);

/** The URL under which this machine reaches a listener. */
export function localUrl(address: ListenAddress, port: number): string {
  const host = LOOPBACK.get(address.host) ?? address.host;
  return `http://${formatAddress({ host, port })}`;
}

/** Makes a directory where it is missing; throws a CliFailure unless this user can write it. */
export function makeDirectory(dir: string, flag: string): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    accessSync(dir, constants.W_OK);
  } catch (failure) {
    const reason = failure instanceof Error ? failure.message : String(failure);
    throw new CliFailure('directory_unusable', `${dir} cannot be used: ${reason}.`, {
      hint: `Choose a directory that this user can write with ${flag}.`,
    });
  }
}

/**
 * Refuses a data directory that another process has in this role; holds it until `closing` ends. A control
 * plane also locks the directory itself, because a lock file can be removed.
 */
export function claimDataDir(dir: string, role: ClaimRole, closing: AsyncDisposableStack): void {
  makeDirectory(dir, '--data-dir');
  const claim = claimDirectory(dir, role);
  if (claim === null) throw directoryInUse(dir);
  closing.defer(() => claim.close());
  if (role !== 'control') return;
  const lock = lockSoon(dir);
  if (lock === null) throw directoryInUse(dir);
  closing.defer(() => lock.close());
}

const LOCK_RETRY_MS = 20;

/** The kernel may release the two locks of a process that was killed one after the other. */
function lockSoon(dir: string): DirectoryLock | null {
  for (let waitedMs = 0; waitedMs < CONTROL_TUNING.claimMs; waitedMs += LOCK_RETRY_MS) {
    const lock = lockDirectory(dir);
    if (lock !== null) return lock;
    Bun.sleepSync(LOCK_RETRY_MS);
  }
  return null;
}

function directoryInUse(dir: string): CliFailure {
  return new CliFailure('data_dir_in_use', `${dir} is in use by another process.`, {
    hint: 'Stop that process, or choose another directory with --data-dir.',
  });
}

/** Says what is missing where this process may not open as many files as it needs. */
export function checkOpenFiles(
  needs: readonly { what: string; files: number }[],
  { terminal }: Context,
  log: Log,
): void {
  const limit = openFilesMax();
  const needed = needs.reduce<number>((sum, { files }) => sum + files, OPEN_FILES.base);
  if (limit === null || limit >= needed) return;
  const parts = needs.map(({ what, files }) => `${files} for ${what}`).join(', ');
  terminal.note(`edge: open_files_low: this process may open ${limit} files and needs ${needed} (${parts}).`);
  terminal.note(
    `  Raise the limit: \`ulimit -n ${needed}\` in the shell, or LimitNOFILE=${needed} of systemd.`,
  );
  log.warn('the limit of open files is too low', { limit, needed });
}

/** Null where the kernel does not say, and where there is no limit. */
function openFilesMax(): number | null {
  try {
    const limits = readFileSync('/proc/self/limits', 'utf8');
    const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
    return soft === undefined ? null : Number(soft);
  } catch {
    return null;
  }
}
