// Finds the unpacked libraries of the engine, or unpacks them in a child process.
import { chmodSync, lstatSync, mkdirSync, readdirSync, type Stats, utimesSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { cacheHomes } from '../../config/directories.ts';
import type { Environment } from '../../config/inputs.ts';
import { childEnvironment } from '../child.ts';

/** What the archive holds, as the build wrote it; it unpacks to a directory named `archive_sha256`. */
export type RuntimeManifest = {
  archive_sha256: string;
  archive_bytes: number;
  files: { name: string; bytes: number; sha256: string }[];
};

export type RuntimeOptions = {
  manifest: RuntimeManifest;
  /** Directories that may hold the unpacked libraries, in order of preference. */
  bases: readonly string[];
  /** The command that starts this program again. */
  self: readonly string[];
  env: Environment;
  clock: Clock;
  terminal: { isInteractive: boolean; write(text: string): void };
};

/** The value of EDGE_ROLE, and the variable that tells a child in this role where to unpack. */
const UNPACK_ROLE = 'unpack';
export const UNPACK_BASE_VARIABLE = 'EDGE_UNPACK_BASE';

/** How often a process marks the libraries as in use. */
const MARK_INTERVAL_MS = 86_400_000;
/** Unpacking that takes less than this shows no progress. */
const PROGRESS_AFTER_MS = 1_000;
const STDERR_CHARACTERS_MAX = 2_000;

/** The user's cache directories, then a folder of the data directory. */
export function runtimeBases(env: Environment, dataDir: string): string[] {
  return [...cacheHomes(env).map((home) => join(home, 'edge')), resolve(dataDir, 'runtime')];
}

/**
 * Returns the directory of the unpacked libraries. Uses the first base that holds them (compares names,
 * sizes, owner and modes; reads no content), otherwise unpacks into the first base that can be written.
 * Throws when there is none.
 */
export async function openRuntime(options: RuntimeOptions): Promise<{ dir: string; unpacked: boolean }> {
  const { manifest, bases } = options;
  const dirIn = (base: string): string => join(base, manifest.archive_sha256);
  const found = bases.find((base) => isPrivateDir(base) && isSound(dirIn(base), manifest));
  if (found !== undefined) return { dir: dirIn(found), unpacked: false };
  const refusals: string[] = [];
  for (const base of bases) {
    const refusal = prepareBase(base) ?? (await runUnpacker(base, options));
    if (refusal === null && isSound(dirIn(base), manifest)) return { dir: dirIn(base), unpacked: true };
    refusals.push(`${base}: ${refusal ?? 'the unpacked files are not as they were packed'}`);
  }
  const advice = 'Set XDG_CACHE_HOME to a directory that this user can write.';
  throw new Error(`The engine could not be unpacked. ${refusals.join('; ')}. ${advice}`);
}

/**
 * Marks the libraries in `dir` as in use, once a day until closed: an unpacker of another build removes what
 * was not in use for 30 days.
 */
export function markRuntimeInUse(dir: string, clock: Clock): { close(): void } {
  const mark = (): void => {
    const seconds = clock.nowMs() / 1_000;
    try {
      utimesSync(dir, seconds, seconds);
    } catch {
      // A directory that cannot be marked cannot be removed by this user either.
    }
  };
  mark();
  const timer = setInterval(mark, MARK_INTERVAL_MS);
  timer.unref();
  return { close: () => clearInterval(timer) };
}

/** Whether `dir` holds exactly the files of the manifest, private to this user. */
export function isSound(dir: string, manifest: RuntimeManifest): boolean {
  if (!isPrivateDir(dir)) return false;
  if (entryCount(dir) !== manifest.files.length) return false;
  return manifest.files.every((file) => {
    const entry = entryAt(join(dir, file.name));
    return (
      entry?.isFile() === true &&
      entry.uid === process.geteuid?.() &&
      entry.size === file.bytes &&
      (entry.mode & 0o777) === 0o500
    );
  });
}

/** Undefined when there is nothing at `path`, or this user may not see it. */
function entryAt(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch {
    return undefined;
  }
}

function entryCount(dir: string): number | undefined {
  try {
    return readdirSync(dir).length;
  } catch {
    return undefined;
  }
}

function isPrivateDir(dir: string): boolean {
  const entry = entryAt(dir);
  return entry?.isDirectory() === true && entry.uid === process.geteuid?.() && (entry.mode & 0o777) === 0o700;
}

/** Makes `base` a private directory of this user; returns the reason when it cannot. */
function prepareBase(base: string): string | null {
  try {
    mkdirSync(base, { recursive: true, mode: 0o700 });
    const entry = lstatSync(base);
    if (!entry.isDirectory() || entry.uid !== process.geteuid?.()) return 'not a directory of this user';
    if ((entry.mode & 0o777) !== 0o700) chmodSync(base, 0o700);
    return null;
  } catch (failure) {
    return failure instanceof Error ? failure.message : String(failure);
  }
}

/** Runs the unpacker for `base` and shows its progress; returns the reason when it fails. */
async function runUnpacker(base: string, options: RuntimeOptions): Promise<string | null> {
  const { self, env } = options;
  const child = Bun.spawn([...self], {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    env: childEnvironment(env, { EDGE_ROLE: UNPACK_ROLE, [UNPACK_BASE_VARIABLE]: base }),
  });
  const progress = createProgress(options);
  const followed = followReports(child.stdout, (bytes) => progress.show(bytes));
  const [, stderr, exitCode] = await Promise.all([followed, child.stderr.text(), child.exited]);
  progress.close({ isComplete: exitCode === 0 });
  if (exitCode === 0) return null;
  const reason = stderr.trim().slice(0, STDERR_CHARACTERS_MAX);
  return reason === '' ? `the unpacker ended with ${child.signalCode ?? exitCode}` : reason;
}

/** Calls `report` with the number of the last whole line, each time that a piece of the stream arrives. */
async function followReports(
  stream: ReadableStream<Uint8Array>,
  report: (bytes: number) => void,
): Promise<void> {
  let tail = '';
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    tail = `${tail}${decoder.decode(chunk, { stream: true })}`.slice(-64);
    const last = tail.split('\n').at(-2);
    if (last !== undefined && /^\d+$/.test(last)) report(Number(last));
  }
}

type Progress = { show(bytes: number): void; close(options: { isComplete: boolean }): void };

/** On a terminal a line that is redrawn in place; elsewhere one line. */
function createProgress({ manifest, clock, terminal }: RuntimeOptions): Progress {
  const total = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)}`;
  const startedMs = clock.monotonicMs();
  let isShown = false;
  const show = (bytes: number): void => {
    if (clock.monotonicMs() - startedMs < PROGRESS_AFTER_MS || (isShown && !terminal.isInteractive)) return;
    isShown = true;
    const what = 'Unpacking the engine (first start only)';
    if (terminal.isInteractive) terminal.write(`\r${what}: ${megabytes(bytes)} of ${megabytes(total)} MB`);
    else terminal.write(`${what}: ${megabytes(total)} MB …\n`);
  };
  return {
    show,
    close({ isComplete }) {
      if (isComplete) show(total);
      if (isShown && terminal.isInteractive) terminal.write('\n');
    },
  };
}
