// Unpacks the engine's libraries into a private directory: all files or none.
import { lstatSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { syncDirectory } from '../../base/durable.ts';
import { isSound, type RuntimeManifest } from './runtime.ts';
import { createTarReader } from './tar_reader.ts';

/** Where an unpacker works; `removeLeftovers` knows its directory by this prefix. */
const WORK_PREFIX = '.unpack-';
/** A work directory of this age belongs to an unpacker that died. */
const LEFTOVER_MS = 3_600_000;
/** The libraries of another build are removed when no process has used them for this long. */
const UNUSED_MS = 30 * 86_400_000;
/** Unpacked libraries lie in a directory named by the SHA-256 of their archive. */
const RUNTIME_NAME = /^[0-9a-f]{64}$/;
const PLACE_ATTEMPTS_MAX = 3;
const REPORT_BYTES = 8 * 1024 * 1024;

/**
 * Unpacks `archive` to `base/<archive_sha256>` and writes the number of bytes done, one line per report.
 * Checks every file against the manifest, then gives the directory its name in one rename. Several unpackers
 * may run at once: the first rename wins, the others discard their work. Throws when the archive does not
 * match its manifest.
 */
export async function unpackRuntime(options: {
  archive: Blob;
  manifest: RuntimeManifest;
  base: string;
  clock: Clock;
  write: (text: string) => void;
}): Promise<void> {
  const { archive, manifest, base, clock, write } = options;
  removeLeftovers(base, clock.nowMs());
  const target = join(base, manifest.archive_sha256);
  const work = mkdtempSync(join(base, WORK_PREFIX));
  try {
    const reader = createTarReader({ dir: work, manifest });
    let reported = 0;
    for await (const chunk of archive.stream().pipeThrough(new DecompressionStream('zstd'))) {
      reader.push(chunk);
      if (reader.bytesDone() - reported >= REPORT_BYTES) {
        reported = reader.bytesDone();
        write(`${reported}\n`);
      }
      if (reader.isDone()) break;
    }
    reader.close();
    await syncDirectory(work);
    place({ work, target, manifest, base });
    await syncDirectory(base);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Renames `work` to `target`, unless sound libraries are there; replaces a directory that is not sound. */
function place(options: { work: string; target: string; manifest: RuntimeManifest; base: string }): void {
  const { work, target, manifest, base } = options;
  for (let attempt = 0; attempt < PLACE_ATTEMPTS_MAX; attempt += 1) {
    if (isSound(target, manifest)) return;
    if (lstatSync(target, { throwIfNoEntry: false }) !== undefined) {
      const aside = mkdtempSync(join(base, WORK_PREFIX));
      succeeds(() => renameSync(target, join(aside, 'replaced')), ['ENOENT']);
      rmSync(aside, { recursive: true, force: true });
    }
    if (succeeds(() => renameSync(work, target), ['ENOTEMPTY', 'EEXIST', 'ENOTDIR'])) return;
  }
  throw new Error(`${target} keeps changing: another process writes it`);
}

/** False when `step` throws one of `codes`; throws every other failure. */
function succeeds(step: () => void, codes: readonly string[]): boolean {
  try {
    step();
    return true;
  } catch (failure) {
    if (failure instanceof Error && 'code' in failure && codes.includes(String(failure.code))) return false;
    throw failure;
  }
}

/** Removes work directories of dead unpackers and libraries that have not been in use. */
function removeLeftovers(base: string, nowMs: number): void {
  for (const name of readdirSync(base)) {
    const isRuntime = RUNTIME_NAME.test(name);
    if (!isRuntime && !name.startsWith(WORK_PREFIX)) continue;
    const entry = lstatSync(join(base, name), { throwIfNoEntry: false });
    if (entry !== undefined && nowMs - entry.mtimeMs > (isRuntime ? UNUSED_MS : LEFTOVER_MS)) {
      succeeds(() => rmSync(join(base, name), { recursive: true, force: true }), ['EACCES', 'EPERM']);
    }
  }
}
