// Finds the unpacked libraries of the engine, or has them unpacked by a process of its own.
import { chmodSync, lstatSync, mkdirSync, readdirSync, type Stats, utimesSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import type { Environment } from '../../config/inputs.ts';
import { childEnvironment } from '../child.ts';

/** What the archive holds, as the build wrote it. The directory of a set is named by `archive_sha256`. */
export type RuntimeManifest = {
  archive_sha256: string;
  archive_bytes: number;
  files: { name: string; bytes: number; sha256: string }[];
};

/** The value of EDGE_ROLE, and the variable that tells a child in this role where to unpack. */
const UNPACK_ROLE = 'unpack';
export const UNPACK_BASE_VARIABLE = 'EDGE_UNPACK_BASE';

/** A set says by its time of change when it was last in use; who uses it says so again this often. */
const USE_INTERVAL_MS = 86_400_000;

const PROGRESS_AFTER_MS = 1_000;
const STDERR_CHARACTERS_MAX = 2_000;

/** The directories that may hold the unpacked set, best first. */
export function runtimeBases(env: Environment, dataDir: string): string[] {
  const { XDG_CACHE_HOME: cache = '', HOME: home = '' } = env;
  return [
    ...(isAbsolute(cache) ? [join(cache, 'edge')] : []),
    ...(isAbsolute(home) ? [join(home, '.cache', 'edge')] : []),
    resolve(dataDir, 'runtime'),
  ];
}

/**
 * Returns the directory of the unpacked set. A sound one is taken as it is (names, sizes, owner and modes are
 * compared, no content is read); else `self`, the command that starts this program again, is run in the role
 * `unpack` for the first base that can be written. Throws when no base can hold the set.
 */
export async function openRuntime(options: {
  manifest: RuntimeManifest;
  bases: readonly string[];
  self: readonly string[];
  env: Environment;
  clock: Clock;
  terminal: { isInteractive: boolean; write(text: string): void };
}): Promise<{ dir: string; unpacked: boolean }> {
  const { manifest, bases } = options;
  const dirIn = (base: string): string => join(base, manifest.archive_sha256);
  const kept = bases.find((base) => isPrivateDir(base) && isSound(dirIn(base), manifest));
  if (kept !== undefined) return { dir: dirIn(kept), unpacked: false };
  const refusals: string[] = [];
  for (const base of bases) {
    const refusal = openBase(base) ?? (await runUnpacker(base, options));
    if (refusal === undefined && isSound(dirIn(base), manifest)) return { dir: dirIn(base), unpacked: true };
    refusals.push(`${base}: ${refusal ?? 'the unpacked files are not as they were packed'}`);
  }
  throw new Error(`The engine could not be unpacked. ${refusals.join('; ')}`);
}

/** Marks the set in `dir` as in use until the end, so that no other build removes it as left over. */
export function useRuntime(dir: string, clock: Clock): { close(): void } {
  const mark = (): void => {
    const seconds = clock.nowMs() / 1_000;
    try {
      utimesSync(dir, seconds, seconds);
    } catch {
      // Where nothing can be written nothing can be removed either.
    }
  };
  mark();
  const timer = setInterval(mark, USE_INTERVAL_MS);
  timer.unref();
  return { close: () => clearInterval(timer) };
}

/** Whether `dir` holds exactly the files of the manifest, private to this user. */
export function isSound(dir: string, manifest: RuntimeManifest): boolean {
  if (!isPrivateDir(dir)) return false;
  if (entriesOf(dir) !== manifest.files.length) return false;
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

/** What stands at `path`; undefined when it is not there or may not be seen. */
function entryAt(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch {
    return undefined;
  }
}

function entriesOf(dir: string): number | undefined {
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

/** Makes `base` a private directory of this user; returns why that cannot be. */
function openBase(base: string): string | undefined {
  try {
    mkdirSync(base, { recursive: true, mode: 0o700 });
    const entry = lstatSync(base);
    if (!entry.isDirectory() || entry.uid !== process.geteuid?.()) return 'not a directory of this user';
    if ((entry.mode & 0o777) !== 0o700) chmodSync(base, 0o700);
    return undefined;
  } catch (failure) {
    return failure instanceof Error ? failure.message : String(failure);
  }
}

/** Runs the unpacker for `base` and shows how far it is; returns why it failed. */
async function runUnpacker(
  base: string,
  options: Parameters<typeof openRuntime>[0],
): Promise<string | undefined> {
  const { manifest, clock, terminal, self, env } = options;
  const child = Bun.spawn([...self], {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    env: childEnvironment(env, { EDGE_ROLE: UNPACK_ROLE, [UNPACK_BASE_VARIABLE]: base }),
  });
  const total = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  const megabytes = (count: number): string => `${Math.round(count / 1e6)}`;
  const startedMs = clock.monotonicMs();
  let isShown = false;
  const show = (done: number): void => {
    if (clock.monotonicMs() - startedMs < PROGRESS_AFTER_MS || (isShown && !terminal.isInteractive)) return;
    isShown = true;
    const what = 'Unpacking the engine (once)';
    if (terminal.isInteractive) terminal.write(`\r${what}: ${megabytes(done)} of ${megabytes(total)} MB`);
    else terminal.write(`${what}: ${megabytes(total)} MB …\n`);
  };
  const follow = async (): Promise<void> => {
    let tail = '';
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout) {
      tail = `${tail}${decoder.decode(chunk, { stream: true })}`.slice(-64);
      const last = tail.split('\n').at(-2);
      if (last !== undefined && /^\d+$/.test(last)) show(Number(last));
    }
  };
  const [, stderr, exitCode] = await Promise.all([follow(), child.stderr.text(), child.exited]);
  if (exitCode === 0) show(total);
  if (isShown && terminal.isInteractive) terminal.write('\n');
  if (exitCode === 0) return undefined;
  return (
    stderr.trim().slice(0, STDERR_CHARACTERS_MAX) || `the unpacker ended with ${child.signalCode ?? exitCode}`
  );
}
