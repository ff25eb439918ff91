// The key of a node that authenticates its compiled files: made once, readable by its owner only.
import { link, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { readFileBounded, syncDirectory } from '../../base/durable.ts';
import type { RandomBytes } from '../../base/id.ts';
import type { Log } from '../../base/log.ts';

const KEY_BYTES = 32;

/**
 * Reads `<dataDir>/node.key` or makes it, also where two processes do. One that is damaged is set aside: what
 * the node compiled with it is compiled again. Where the disk refuses, the key lasts as long as this process.
 */
export async function openNodeKey(options: {
  dataDir: string;
  randomBytes: RandomBytes;
  log: Log;
}): Promise<Uint8Array> {
  const { dataDir, randomBytes, log } = options;
  const path = join(dataDir, 'node.key');
  try {
    return (await readKey(path, log)) ?? (await makeKey(path, randomBytes, log));
  } catch (failure) {
    const message = 'the key of compiled files cannot be kept; the next start compiles again';
    log.error(message, { error: String(failure) });
    return randomBytes(KEY_BYTES);
  }
}

/** Throws where the disk refuses. */
async function makeKey(path: string, randomBytes: RandomBytes, log: Log): Promise<Uint8Array> {
  const temporary = `${path}.${Buffer.from(randomBytes(8)).toString('hex')}`;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(randomBytes(KEY_BYTES));
      await file.sync();
    } finally {
      await file.close();
    }
    await link(temporary, path);
  } catch (failure) {
    if ((failure as NodeJS.ErrnoException).code !== 'EEXIST') throw failure;
  } finally {
    await rm(temporary, { force: true });
  }
  await syncDirectory(dirname(path));
  const made = await readKey(path, log);
  if (made === null) throw new Error(`${path} could not be made`);
  return made;
}

/** Null where there is no key; sets aside what is none. */
async function readKey(path: string, log: Log): Promise<Uint8Array | null> {
  let reason = `not ${KEY_BYTES} bytes`;
  try {
    const bytes = await readFileBounded(path, KEY_BYTES);
    if (bytes === null) return null;
    if (bytes.length === KEY_BYTES) return bytes;
  } catch (failure) {
    reason = String(failure);
  }
  log.error('the key of compiled files is damaged; another is made', { error: reason });
  await rm(`${path}.damaged`, { recursive: true, force: true });
  await rename(path, `${path}.damaged`);
  return null;
}
