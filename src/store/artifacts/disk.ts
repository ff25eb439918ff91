// Artifacts as files named by their digest; whatever has its final name is whole and on the disk.
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../../base/errors.ts';
import type { ArtifactStore, ReceivedArtifact } from './artifacts.ts';

const DIGEST = /^[0-9a-f]{64}$/;

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

async function writeStream(
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

/** A rename survives a loss of power only once the directory itself is on the disk. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
