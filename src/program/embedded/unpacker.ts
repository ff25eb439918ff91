// Writes the engine's libraries from the archive into a private directory: the whole set or nothing.
import { createHash } from 'node:crypto';
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { isSound, type RuntimeManifest } from './runtime.ts';

const BLOCK = 512;
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

type TarReader = { push(chunk: Uint8Array): void; isDone(): boolean; bytesDone(): number; close(): void };

/**
 * Writes the entries of a ustar stream into `dir`: plain files that the manifest names, each once, with the
 * size and the digest that it gives. Anything else throws. `close` throws when one is missing or cut short.
 */
export function createTarReader(options: { dir: string; manifest: RuntimeManifest }): TarReader {
  const waiting = new Map(options.manifest.files.map((file) => [file.name, file]));
  const header = Buffer.alloc(BLOCK);
  let headerLength = 0;
  let padding = 0;
  let file: FileWriter | undefined;
  let done = false;
  let bytes = 0;

  const begin = (): void => {
    headerLength = 0;
    if (header.every((byte) => byte === 0)) return void (done = true);
    const { name, size } = readHeader(header);
    const entry = waiting.get(name);
    if (entry === undefined || entry.bytes !== size)
      throw new Error('the archive has an entry that is not in its manifest');
    waiting.delete(name);
    padding = (BLOCK - (size % BLOCK)) % BLOCK;
    file = openFileWriter(join(options.dir, name), entry);
    if (size === 0) finish();
  };
  const finish = (): void => {
    const finished = file;
    file = undefined;
    finished?.finish();
  };
  /** Consumes the beginning of `chunk`, which is not empty; returns how much. */
  const take = (chunk: Uint8Array): number => {
    if (file !== undefined) {
      const part = chunk.subarray(0, file.left());
      file.write(part);
      bytes += part.length;
      if (file.left() === 0) finish();
      return part.length;
    }
    if (padding > 0) {
      const skipped = Math.min(padding, chunk.length);
      padding -= skipped;
      return skipped;
    }
    const part = chunk.subarray(0, BLOCK - headerLength);
    header.set(part, headerLength);
    headerLength += part.length;
    if (headerLength === BLOCK) begin();
    return part.length;
  };
  return {
    push(chunk) {
      for (let at = 0; at < chunk.length && !done;) at += take(chunk.subarray(at));
    },
    isDone: () => done,
    bytesDone: () => bytes,
    close() {
      file?.abandon();
      if (!done) throw new Error('the archive is cut short');
      if (waiting.size > 0) throw new Error('the archive lacks a file of its manifest');
    },
  };
}

type FileWriter = { left(): number; write(part: Uint8Array): void; finish(): void; abandon(): void };

/** `finish` makes the file durable and throws unless its bytes have the digest of `entry`. */
function openFileWriter(path: string, entry: RuntimeManifest['files'][number]): FileWriter {
  const fd = openSync(path, 'wx', 0o600);
  const hash = createHash('sha256');
  let left = entry.bytes;
  return {
    left: () => left,
    write(part) {
      for (let at = 0; at < part.length;) at += writeSync(fd, part, at, part.length - at);
      hash.update(part);
      left -= part.length;
    },
    finish() {
      fchmodSync(fd, 0o500);
      fsyncSync(fd);
      closeSync(fd);
      if (hash.digest('hex') !== entry.sha256) throw new Error(`${entry.name} is not as it was packed`);
    },
    abandon: () => closeSync(fd),
  };
}

function readHeader(header: Buffer): { name: string; size: number } {
  const text = (at: number, length: number): string =>
    header.toString('latin1', at, at + length).replace(/[\0 ].*$/s, '');
  const sum = header.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
  const isPlain = text(257, 6) === 'ustar' && header[156] === 0x30 && text(345, 155) === '';
  if (!isPlain || Number.parseInt(text(148, 8), 8) !== sum) throw new Error('the archive has a bad header');
  return { name: text(0, 100), size: Number.parseInt(text(124, 12), 8) };
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
