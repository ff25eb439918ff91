// Writes what arrives to a file: hashes it, bounds its size and flushes it.
import { type FileHandle, open } from 'node:fs/promises';
import { CodedError } from '../../base/errors.ts';

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
