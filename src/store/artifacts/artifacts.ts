// Stores artifacts under their digest: the contract of every artifact store, and the store on disk.
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { moveDurably, readFileBounded } from '../../base/durable.ts';
import { writeStream } from './disk.ts';

const DIGEST = /^[0-9a-f]{64}$/;

/**
 * Bytes that arrived whole and are not an artifact yet. The owner always calls `discard` at the end: after
 * `keep` it removes nothing.
 */
export type ReceivedArtifact = {
  readonly sha256: string;
  readonly sizeBytes: number;
  /** Throws after `keep` and after `discard`. */
  bytes(): Promise<Uint8Array<ArrayBuffer>>;
  /** Makes the bytes durable under their digest, in the place of a file that is there. */
  keep(): Promise<void>;
  discard(): Promise<void>;
};

export type ArtifactStore = {
  /**
   * Reads a stream to its end. Refuses `artifact_too_large` as soon as it passes `bytesMax`, and
   * `artifact_empty`; it leaves no file then, nor when the stream fails.
   */
  receive(body: ReadableStream<Uint8Array> | null, options: { bytesMax: number }): Promise<ReceivedArtifact>;
  /** Null where there is no such artifact. */
  open(sha256: string): Promise<Blob | null>;
  /** An artifact that does not exist is no error. */
  remove(sha256: string): Promise<void>;
};

/**
 * Keeps artifacts in `<dir>/ab/<sha256>` and what arrives in `<dir>/incoming`, which it empties first: the
 * directory belongs to this process. `nextName` returns a new file name at every call.
 */
export async function openDiskArtifacts(options: {
  dir: string;
  nextName: () => string;
}): Promise<ArtifactStore> {
  const { dir, nextName } = options;
  const incoming = join(dir, 'incoming');
  await mkdir(incoming, { recursive: true, mode: 0o700 });
  for (const name of await readdir(incoming))
    await rm(join(incoming, name), { force: true, recursive: true });
  const pathOf = (sha256: string): string => {
    if (!DIGEST.test(sha256)) throw new Error('an artifact is named by 64 hexadecimal digits');
    return join(dir, sha256.slice(0, 2), sha256);
  };
  return {
    async receive(body, { bytesMax }) {
      const path = join(incoming, nextName());
      try {
        const { sha256, sizeBytes } = await writeStream(path, body, bytesMax);
        return received({ path, target: pathOf(sha256), sha256, sizeBytes });
      } catch (failure) {
        await rm(path, { force: true });
        throw failure;
      }
    },
    async open(sha256) {
      const file = Bun.file(pathOf(sha256));
      return (await file.exists()) ? file : null;
    },
    async remove(sha256) {
      await rm(pathOf(sha256), { force: true });
    },
  };
}

function received(artifact: {
  path: string;
  target: string;
  sha256: string;
  sizeBytes: number;
}): ReceivedArtifact {
  const { path, target, sha256, sizeBytes } = artifact;
  return {
    sha256,
    sizeBytes,
    async bytes() {
      const bytes = await readFileBounded(path, sizeBytes);
      if (bytes === null) throw new Error('a received artifact is read before it is kept or discarded');
      return bytes;
    },
    keep: () => moveDurably(path, target),
    discard: () => rm(path, { force: true }),
  };
}
