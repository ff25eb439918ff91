// Writes the engine's libraries from the archive into a private directory: the whole set or nothing.
import {
  closeSync,
  fsyncSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { isSound, type RuntimeManifest } from './runtime.ts';
import { createTarReader } from './tar_reader.ts';

const LEFTOVER_MS = 3_600_000;
/** A set of another build that nobody has used for this long is left over. */
const UNUSED_MS = 30 * 86_400_000;
const SET_NAME = /^[0-9a-f]{64}$/;
const PUBLISH_ATTEMPTS_MAX = 3;
const REPORT_BYTES = 8 * 1024 * 1024;

/**
 * The role `unpack`: writes the set below `base` and reports the bytes done, one number a line. Every file is
 * checked against the manifest before the set appears under its name, in one rename. Safe when several run at
 * once: the first one wins, the others find its set and drop theirs.
 */
export async function unpackRole(options: {
  archive: Blob;
  manifest: RuntimeManifest;
  base: string;
  clock: Clock;
  write: (text: string) => void;
}): Promise<void> {
  const { archive, manifest, base, clock, write } = options;
  removeLeftovers(base, clock.nowMs());
  const target = join(base, manifest.archive_sha256);
  const work = mkdtempSync(join(base, '.unpack-'));
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
    syncDir(work);
    publish({ work, target, manifest, base });
    syncDir(base);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function publish(options: { work: string; target: string; manifest: RuntimeManifest; base: string }): void {
  const { work, target, manifest, base } = options;
  for (let attempt = 0; attempt < PUBLISH_ATTEMPTS_MAX; attempt += 1) {
    if (isSound(target, manifest)) return;
    if (lstatSync(target, { throwIfNoEntry: false }) !== undefined) {
      const aside = mkdtempSync(join(base, '.unpack-'));
      ignoring(['ENOENT'], () => renameSync(target, join(aside, 'replaced')));
      rmSync(aside, { recursive: true, force: true });
    }
    if (ignoring(['ENOTEMPTY', 'EEXIST', 'ENOTDIR'], () => renameSync(work, target))) return;
  }
  throw new Error('the directory of the engine keeps changing');
}

/** Whether `step` went through; a failure with one of `codes` is an answer, any other is thrown. */
function ignoring(codes: readonly string[], step: () => void): boolean {
  try {
    step();
    return true;
  } catch (failure) {
    if (failure instanceof Error && 'code' in failure && codes.includes(String(failure.code))) return false;
    throw failure;
  }
}

function removeLeftovers(base: string, nowMs: number): void {
  for (const name of readdirSync(base)) {
    const isSet = SET_NAME.test(name);
    if (!isSet && !name.startsWith('.unpack-')) continue;
    const entry = lstatSync(join(base, name), { throwIfNoEntry: false });
    if (entry !== undefined && nowMs - entry.mtimeMs > (isSet ? UNUSED_MS : LEFTOVER_MS)) {
      ignoring(['EACCES', 'EPERM'], () => rmSync(join(base, name), { recursive: true, force: true }));
    }
  }
}

function syncDir(dir: string): void {
  const fd = openSync(dir, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
