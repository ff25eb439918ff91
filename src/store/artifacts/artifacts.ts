// Stores artifacts under their digest: the contract of every artifact store, and the store on disk.
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { moveDurably, readFileBounded } from '../../base/durable.ts';
import type { ArtifactState } from '../../model/artifact.ts';
import { dropOld, dropOldest, moveAside, moveBack } from './aside.ts';
import { DIGEST, namesIn, stampOf, verifyFile, writeStream } from './disk.ts';

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

/** Where files go that are no artifacts: `orphaned` ones are of no version, and come back with one. */
export type Aside = 'damaged' | 'orphaned';

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
  /** Reads the whole file. Rejects where nothing can be said, as without a free descriptor. */
  verify(sha256: string): Promise<ArtifactState>;
  /** Differs after each change of the file; null where there is none. Reads no content. */
  stampOf(sha256: string): Promise<string | null>;
  /** The digests that have a file and start with these two digits, in order. */
  named(prefix: string): Promise<string[]>;
  /** Moves the file away, so that it is missing. `nowMs` counts for `dropAside`. */
  setAside(sha256: string, where: Aside, nowMs: number): Promise<void>;
  /** Brings an orphaned file back; whether there was one. */
  restore(sha256: string): Promise<boolean>;
  /** Deletes orphaned files that are older than `ARTIFACT_TUNING.orphanGraceMs`, and the oldest damaged ones. */
  dropAside(nowMs: number): Promise<void>;
};

/**
 * Keeps artifacts in `<dir>/ab/<sha256>`, what is set aside in `<dir>/damaged` and `<dir>/orphaned`, and what
 * arrives in `<dir>/incoming`, which it empties first: the directory belongs to this process. `nextName` returns
 * a new file name at every call.
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
    verify: (sha256) => verifyFile(pathOf(sha256), sha256),
    stampOf: (sha256) => stampOf(pathOf(sha256)),
    named: async (prefix) => (await namesIn(join(dir, prefix))).filter((name) => name.startsWith(prefix)),
    setAside: (sha256, where, nowMs) => moveAside(pathOf(sha256), join(dir, where), nowMs),
    restore: (sha256) => moveBack(join(dir, 'orphaned', sha256), pathOf(sha256)),
    async dropAside(nowMs) {
      await dropOld(join(dir, 'orphaned'), nowMs);
      await dropOldest(join(dir, 'damaged'));
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
