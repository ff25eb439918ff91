// The files of artifacts: written with a bound, hashed on the way, and read again to be verified.
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir } from 'node:fs/promises';
import { CodedError } from '../../base/errors.ts';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import type { ArtifactState } from '../../model/artifact.ts';

/** The names of artifacts. */
export const DIGEST = /^[0-9a-f]{64}$/;

/** Bytes that are hashed in one turn of the event loop. */
const CHUNK_BYTES = 256 * 1024;

/** Makes the file `path` (0600); the caller removes it after a failure. Refuses what `receive` refuses. */
export async function writeStream(
  path: string,
  body: ReadableStream<Uint8Array> | null,
  bytesMax: number,
): Promise<{ sha256: string; sizeBytes: number }> {
  const hasher = new Bun.CryptoHasher('sha256');
  let sizeBytes = 0;
  const file = await open(path, 'wx', 0o600);
  try {
    for await (const chunk of body ?? []) {
      sizeBytes += chunk.byteLength;
      if (sizeBytes > bytesMax)
        throw new CodedError('artifact_too_large', { details: { bytes_max: bytesMax } });
      hasher.update(chunk);
      await writeAll(file, chunk);
    }
    if (sizeBytes === 0) throw new CodedError('artifact_empty');
    await file.sync();
  } finally {
    await file.close();
  }
  return { sha256: hasher.digest('hex'), sizeBytes };
}

async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let done = 0; done < chunk.byteLength;) done += (await file.write(chunk, done)).bytesWritten;
}

/** See `ArtifactStore.verify`. */
export async function verifyFile(path: string, sha256: string): Promise<ArtifactState> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (failure) {
    if (isAbsent(failure)) return 'missing';
    if (hasCode(failure, ['ELOOP', 'EIO', 'ENXIO'])) return 'damaged';
    throw failure;
  }
  try {
    const facts = await file.stat();
    if (!facts.isFile() || facts.size > FUNCTION_BOUNDS.artifactBytesMax) return 'damaged';
    return (await digestOf(file)) === sha256 ? 'whole' : 'damaged';
  } catch (failure) {
    if (hasCode(failure, ['EIO'])) return 'damaged';
    throw failure;
  } finally {
    await file.close();
  }
}

async function digestOf(file: FileHandle): Promise<string> {
  const hasher = new Bun.CryptoHasher('sha256');
  const chunk = new Uint8Array(CHUNK_BYTES);
  for (let at = 0; ;) {
    const { bytesRead } = await file.read(chunk, 0, CHUNK_BYTES, at);
    if (bytesRead === 0) return hasher.digest('hex');
    hasher.update(chunk.subarray(0, bytesRead));
    at += bytesRead;
  }
}

/** See `ArtifactStore.stampOf`. */
export async function stampOf(path: string): Promise<string | null> {
  try {
    const { ino, size, ctimeNs } = await lstat(path, { bigint: true });
    return `${ino} ${size} ${ctimeNs}`;
  } catch (failure) {
    if (isAbsent(failure)) return null;
    throw failure;
  }
}

/** The artifacts of a directory by name, in order; none where it is missing. */
export async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).filter((name) => DIGEST.test(name)).sort();
  } catch (failure) {
    if (isAbsent(failure)) return [];
    throw failure;
  }
}

/** Whether a file system call failed because there is no such file. */
export function isAbsent(failure: unknown): boolean {
  return hasCode(failure, ['ENOENT', 'ENOTDIR']);
}

function hasCode(failure: unknown, codes: readonly string[]): boolean {
  return failure instanceof Error && 'code' in failure && codes.includes(String(failure.code));
}
