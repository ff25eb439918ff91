// Compiled files on disk, authenticated with the key of the node: a changed file is never loaded.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { joinParts, piecesOf, runInSlices, type Sliced } from '../../base/concurrency.ts';
import { readFileBounded, TEMPORARY_PREFIX, writeDurably } from '../../base/durable.ts';
import type { RandomBytes } from '../../base/id.ts';
import { COMPILE_BOUNDS } from '../../base/limits/compile.ts';
import type { Log } from '../../base/log.ts';

export type Execution = 'aot' | 'interpreter';
export type CachedCode = { execution: Execution; code: Uint8Array };

/** `name` is a key of `codeName`; nothing else reaches the file system. */
export type CodeCache = {
  /** The code of `name`, or null; a file that this node did not write under that name is deleted. */
  get(name: string): Promise<CachedCode | null>;
  /** Durable. The files that were used longest ago go when the bound is passed. */
  put(name: string, entry: CachedCode): Promise<void>;
};

/** Version of the file's layout and of what is compiled: part of every name. */
const FORMAT = 1;
const HEAD_BYTES = 16;
const TAG_BYTES = 32;
const MAGIC = Buffer.from('edgecode');
const EXECUTIONS: readonly Execution[] = ['aot', 'interpreter'];
const SUFFIX = '.bin';

/** A digest of the module and of everything else that decides what the compiler makes of it. */
export function codeName(facts: {
  digest: string;
  wasmedgeVersion: string;
  cpuFeatures: string;
  compileOptions: string;
}): string {
  const { digest, wasmedgeVersion, cpuFeatures, compileOptions } = facts;
  const text = JSON.stringify([FORMAT, digest, wasmedgeVersion, cpuFeatures, compileOptions]);
  return new Bun.CryptoHasher('sha256').update(text).digest('hex');
}

/** Head, code, and the HMAC-SHA256 of both under the name; pure. */
export function* sealFile(key: Uint8Array, name: string, entry: CachedCode): Sliced<Uint8Array> {
  const head = Buffer.alloc(HEAD_BYTES);
  head.set(MAGIC);
  head[8] = FORMAT;
  head[9] = EXECUTIONS.indexOf(entry.execution);
  const file = yield* joinParts([head, entry.code, new Uint8Array(TAG_BYTES)]);
  const end = file.length - TAG_BYTES;
  file.set(yield* tagOf(key, name, file.subarray(0, end)), end);
  return file;
}

/** Null unless `sealFile` made the bytes for this name with this key. `code` is a view of `file`. */
export function* openFile(key: Uint8Array, name: string, file: Uint8Array): Sliced<CachedCode | null> {
  const end = file.length - TAG_BYTES;
  if (end < HEAD_BYTES) return null;
  const tag = yield* tagOf(key, name, file.subarray(0, end));
  if (!timingSafeEqual(tag, file.subarray(end))) return null;
  const execution = EXECUTIONS[file[9] ?? EXECUTIONS.length];
  if (execution === undefined || file[8] !== FORMAT || !MAGIC.equals(file.subarray(0, MAGIC.length)))
    return null;
  return { execution, code: file.subarray(HEAD_BYTES, end) };
}

function* tagOf(key: Uint8Array, name: string, bytes: Uint8Array): Sliced<Buffer> {
  const hmac = createHmac('sha256', key).update(`${name}\n`);
  for (const piece of piecesOf(bytes)) {
    hmac.update(piece);
    yield;
  }
  return hmac.digest();
}

export type CachedFile = { name: string; sizeBytes: number; usedMs: number };

/** The files to delete, longest unused first, so that the rest holds at most `bytesMax`. */
export function evictionsOf(files: readonly CachedFile[], bytesMax: number): string[] {
  let bytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  const evictions: string[] = [];
  for (const file of [...files].sort((a, b) => a.usedMs - b.usedMs)) {
    if (bytes <= bytesMax) break;
    bytes -= file.sizeBytes;
    evictions.push(file.name);
  }
  return evictions;
}

/** Removes a file or a tree. What cannot be removed is logged and stays: nothing else uses its name. */
export async function removeLeftover(path: string, log: Log): Promise<void> {
  await rm(path, { recursive: true, force: true }).catch((failure: unknown) => {
    log.warn('a leftover of a compile could not be removed', { path, error: String(failure) });
  });
}

export async function openCodeCache(options: {
  dir: string;
  key: Uint8Array;
  bytesMax: number;
  clock: Clock;
  randomBytes: RandomBytes;
  log: Log;
}): Promise<CodeCache> {
  const { dir, key, bytesMax, clock, randomBytes, log } = options;
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    for (const name of await readdir(dir)) {
      if (name.startsWith(TEMPORARY_PREFIX)) await removeLeftover(join(dir, name), log);
    }
  } catch (failure) {
    log.error('the directory of compiled files cannot be written', { error: String(failure) });
  }
  const pathOf = (name: string): string => join(dir, `${name}${SUFFIX}`);
  const evict = async (): Promise<void> => {
    const names = (await readdir(dir)).filter((name) => name.endsWith(SUFFIX));
    const files: CachedFile[] = [];
    for (const name of names) {
      const found = await stat(join(dir, name)).catch(() => null);
      if (found !== null) files.push({ name, sizeBytes: found.size, usedMs: found.mtimeMs });
    }
    for (const name of evictionsOf(files, bytesMax)) await removeLeftover(join(dir, name), log);
  };
  return {
    async get(name) {
      const path = pathOf(name);
      const bytesMax = COMPILE_BOUNDS.fileBytesMax + HEAD_BYTES + TAG_BYTES;
      const file = await readFileBounded(path, bytesMax).catch(() => null);
      if (file === null) return null;
      const entry = await runInSlices(clock, openFile(key, name, file));
      if (entry === null) await rm(path, { force: true }).catch(() => undefined);
      else await utimes(path, clock.nowMs() / 1_000, clock.nowMs() / 1_000).catch(() => undefined);
      return entry;
    },
    async put(name, entry) {
      const tag = Buffer.from(randomBytes(8)).toString('hex');
      const file = await runInSlices(clock, sealFile(key, name, entry));
      await writeDurably(pathOf(name), file, { mode: 0o600, tag });
      await evict();
    },
  };
}
