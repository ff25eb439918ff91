// Artifacts named by their digest: what the control plane asks of a store of them, and the one on disk.
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory, writeStream } from './disk.ts';

const DIGEST = /^[0-9a-f]{64}$/;

/**
 * Bytes that have been received whole but are not kept yet. `discard` must be called at the end, also after
 * `keep`, which makes them findable by their digest; doing so for bytes that are there already changes
 * nothing.
 */
export type ReceivedArtifact = {
  readonly sha256: string;
  readonly sizeBytes: number;
  bytes(): Promise<Uint8Array<ArrayBuffer>>;
  keep(): Promise<void>;
  discard(): Promise<void>;
};

export type ArtifactStore = {
  /**
   * Reads a stream to its end. Refuses `artifact_too_large` as soon as it passes `bytesMax`, and
   * `artifact_empty`; nothing is left behind then, nor when the stream fails.
   */
  receive(body: ReadableStream<Uint8Array> | null, options: { bytesMax: number }): Promise<ReceivedArtifact>;
  /** Null where there is no such artifact. */
  open(sha256: string): Promise<Blob | null>;
  /** Removing what is not there is no error. */
  remove(sha256: string): Promise<void>;
};

/**
 * `<dir>/ab/<sha256>` holds the artifacts, `<dir>/incoming` what is being received. The directory belongs to
 * this process: what an earlier one left in `incoming` is removed. `nextName` gives a new file name at every
 * call.
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
    bytes: () => Bun.file(path).bytes(),
    async keep() {
      const parent = join(target, '..');
      await mkdir(parent, { recursive: true, mode: 0o700 });
      await rename(path, target);
      await syncDirectory(parent);
      await syncDirectory(join(parent, '..'));
    },
    discard: () => rm(path, { force: true }),
  };
}
