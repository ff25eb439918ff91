// The key of a node that authenticates its compiled files: made once, readable by its owner only.
import { link, mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../../base/durable.ts';
import type { RandomBytes } from '../../base/id.ts';

const KEY_BYTES = 32;

/** Reads `<dataDir>/node.key` or makes it, also where two processes do; throws when the file is not a key. */
export async function openNodeKey(options: {
  dataDir: string;
  randomBytes: RandomBytes;
}): Promise<Uint8Array> {
  const { dataDir, randomBytes } = options;
  const path = join(dataDir, 'node.key');
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const temporary = `${path}.${Buffer.from(randomBytes(8)).toString('hex')}`;
  const known = await readKey(path);
  if (known !== null) return known;
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(randomBytes(KEY_BYTES));
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    await link(temporary, path);
  } catch (failure) {
    if ((failure as NodeJS.ErrnoException).code !== 'EEXIST') throw failure;
  } finally {
    await rm(temporary, { force: true });
  }
  await syncDirectory(dataDir);
  const made = await readKey(path);
  if (made === null) throw new Error(`${path} could not be made`);
  return made;
}

async function readKey(path: string): Promise<Uint8Array | null> {
  try {
    const bytes = await readFile(path);
    if (bytes.length !== KEY_BYTES)
      throw new Error(`${path} is not a key of ${KEY_BYTES} bytes; remove it to get another`);
    return new Uint8Array(bytes);
  } catch (failure) {
    if ((failure as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw failure;
  }
}
