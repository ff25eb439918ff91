// Reads the archive of the engine's libraries and writes the files that its manifest names.
import { createHash } from 'node:crypto';
import { closeSync, fchmodSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { RuntimeManifest } from './runtime.ts';

const BLOCK = 512;

type TarReader = {
  /** Takes the next bytes of the archive, in pieces of any length. */
  push(chunk: Uint8Array): void;
  /** Whether the end of the archive was read; later bytes are ignored. */
  isDone(): boolean;
  /** Bytes of file content that were written. */
  bytesDone(): number;
  /** Throws when the archive was cut short or lacks a file of its manifest. */
  close(): void;
};

/**
 * Writes the entries of a ustar stream into `dir`: regular files that the manifest names, each once, with the
 * size and digest of the manifest. Throws on anything else.
 */
export function createTarReader(options: { dir: string; manifest: RuntimeManifest }): TarReader {
  const missing = new Map(options.manifest.files.map((file) => [file.name, file]));
  const header = Buffer.alloc(BLOCK);
  let headerLength = 0;
  let padding = 0;
  let file: FileWriter | undefined;
  let done = false;
  let bytes = 0;

  const beginEntry = (): void => {
    headerLength = 0;
    if (header.every((byte) => byte === 0)) {
      done = true;
      return;
    }
    const { name, size } = readHeader(header);
    const entry = missing.get(name);
    if (entry === undefined || entry.bytes !== size)
      throw new Error('the archive has an entry that is not in its manifest');
    missing.delete(name);
    padding = (BLOCK - (size % BLOCK)) % BLOCK;
    file = openFileWriter(join(options.dir, name), entry);
    if (size === 0) finishFile();
  };
  const finishFile = (): void => {
    const finished = file;
    file = undefined;
    finished?.finish();
  };
  /** Consumes the beginning of `chunk`, which is not empty; returns the number of bytes. */
  const consume = (chunk: Uint8Array): number => {
    if (file !== undefined) {
      const part = chunk.subarray(0, file.bytesLeft());
      file.write(part);
      bytes += part.length;
      if (file.bytesLeft() === 0) finishFile();
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
    if (headerLength === BLOCK) beginEntry();
    return part.length;
  };
  return {
    push(chunk) {
      for (let at = 0; at < chunk.length && !done;) at += consume(chunk.subarray(at));
    },
    isDone: () => done,
    bytesDone: () => bytes,
    close() {
      file?.abandon();
      if (!done) throw new Error('the archive is cut short');
      if (missing.size > 0) throw new Error('the archive lacks a file of its manifest');
    },
  };
}

type FileWriter = {
  bytesLeft(): number;
  write(part: Uint8Array): void;
  /** Makes the file durable; throws unless its bytes have the digest of the manifest. */
  finish(): void;
  abandon(): void;
};

/**
 * Writes synchronously: the tar reader hands over borrowed parts of a chunk, and the process that unpacks has
 * nothing else to do meanwhile.
 */
function openFileWriter(path: string, entry: RuntimeManifest['files'][number]): FileWriter {
  const fd = openSync(path, 'wx', 0o600);
  const hash = createHash('sha256');
  let left = entry.bytes;
  return {
    bytesLeft: () => left,
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

/** Throws unless `header` describes a regular file in ustar format with a correct checksum. */
function readHeader(header: Buffer): { name: string; size: number } {
  const text = (at: number, length: number): string =>
    header.toString('latin1', at, at + length).replace(/[\0 ].*$/s, '');
  const sum = header.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
  const isRegularFile = text(257, 6) === 'ustar' && header[156] === 0x30 && text(345, 155) === '';
  if (!isRegularFile || Number.parseInt(text(148, 8), 8) !== sum)
    throw new Error('the archive has a bad header');
  return { name: text(0, 100), size: Number.parseInt(text(124, 12), 8) };
}
