// The artifact cache of a node: `{dir}/{function_id}/{version}.wasm`, verified at every read, bounded, LRU.
import { type Dirent, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { lstat, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Value } from '@sinclair/typebox/value';
import type { Clock } from '../../../base/clock.ts';
import { runInSlices, sha256Of } from '../../../base/concurrency.ts';
import { readFileBounded, syncDirectory, TEMPORARY_PREFIX, writeDurably } from '../../../base/durable.ts';
import type { RandomBytes } from '../../../base/id.ts';
import { EDGE_BOUNDS } from '../../../base/limits/edge.ts';
import { FUNCTION_BOUNDS } from '../../../base/limits/function.ts';
import type { Log } from '../../../base/log.ts';
import { Id, Semver } from '../../../model/names.ts';
import { type CacheIndex, openCacheIndex } from './cache_index.ts';
import { CacheInUse, type CacheStore, openCacheStore } from './cache_store.ts';

export type ArtifactRef = { functionId: string; version: string; sha256: string };

export type CacheOptions = {
  dir: string;
  bytesMax: number;
  entriesMax: number;
  clock: Clock;
  random: RandomBytes;
  log: Log;
  /** Called once for each `get`. */
  onRead: (result: 'hit' | 'miss' | 'quarantined') => void;
};

const QUARANTINE_DIR = 'quarantine';
const SUFFIX = '.wasm';

const isFunctionId = (text: string): boolean => Value.Check(Id, text);
const isVersion = (text: string): boolean => Value.Check(Semver, text);

/** Throws for an id or a version of another form, so that no name from the network can leave `dir`. */
function pathOf(dir: string, functionId: string, version: string): string {
  if (!isFunctionId(functionId) || !isVersion(version))
    throw new Error('the id or the version of an artifact is not well formed');
  return join(dir, functionId, `${version}${SUFFIX}`);
}

/** Makes the index agree with `dir`: removes temporary files, adds unknown artifacts, drops missing ones. */
function reconcileIndex(index: CacheIndex, { dir, clock, log }: CacheOptions): void {
  const known = new Map(index.list().map((entry) => [`${entry.function_id}/${entry.version}`, entry]));
  for (const functionId of foldersOf(dir, log)) {
    for (const { version, size } of artifactsIn(join(dir, functionId), log)) {
      const entry = known.get(`${functionId}/${version}`);
      known.delete(`${functionId}/${version}`);
      if (entry?.size === size) continue;
      index.put({
        function_id: functionId,
        version,
        sha256: entry?.sha256 ?? '',
        size,
        last_used: entry?.last_used ?? clock.nowMs(),
        state: 'unverified',
        pinned: entry?.pinned ?? 0,
      });
    }
  }
  for (const { function_id, version } of known.values()) index.remove(function_id, version);
}

function foldersOf(dir: string, log: Log): string[] {
  const isFolder = (entry: Dirent): boolean => entry.isDirectory() && isFunctionId(entry.name);
  return list(dir, log)
    .filter(isFolder)
    .map(({ name }) => name);
}

/** The artifacts of one function; removes what a crash left. A file that cannot be read is none. */
function artifactsIn(folder: string, log: Log): { version: string; size: number }[] {
  const artifacts: { version: string; size: number }[] = [];
  for (const file of list(folder, log)) {
    const path = join(folder, file.name);
    const version = file.name.slice(0, -SUFFIX.length);
    try {
      if (file.name.startsWith(TEMPORARY_PREFIX)) rmSync(path, { force: true, recursive: true });
      else if (file.isFile() && file.name.endsWith(SUFFIX) && isVersion(version))
        artifacts.push({ version, size: statSync(path).size });
    } catch (failure) {
      log.warn('a file of the artifact cache is unusable', { file: file.name, error: String(failure) });
    }
  }
  return artifacts;
}

/** What a directory holds; nothing where it cannot be read. */
function list(dir: string, log: Log): Dirent[] {
  try {
    return readdirSync(dir, { withFileTypes: true });
  } catch (failure) {
    log.warn('a folder of the artifact cache cannot be read', { error: String(failure) });
    return [];
  }
}

/** Whether `openCache` threw because another process has the cache in this directory. */
export function isInUse(failure: unknown): boolean {
  return failure instanceof CacheInUse;
}

/** Throws where another process has the cache in this directory. */
export function openCache(options: CacheOptions): ArtifactCache {
  const { dir, clock, log } = options;
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  } catch (failure) {
    log.error('the cache directory cannot be made; artifacts are kept in memory only', {
      error: String(failure),
    });
  }
  const openStore = (): CacheStore => openCacheStore({ path: join(dir, 'index.sqlite'), log });
  const index = openCacheIndex({ openStore, clock, log });
  reconcileIndex(index, options);
  return new ArtifactCache(options, index);
}

export class ArtifactCache {
  readonly #options: CacheOptions;
  readonly #index: CacheIndex;

  constructor(options: CacheOptions, index: CacheIndex) {
    this.#options = options;
    this.#index = index;
  }

  /**
   * The verified bytes; null when the artifact is not stored, or is not what was stored: then it is moved to
   * quarantine. The digest is taken of the very buffer that is returned.
   */
  async get(ref: ArtifactRef): Promise<Uint8Array | null> {
    const { onRead, clock, dir } = this.#options;
    const path = pathOf(dir, ref.functionId, ref.version);
    let bytes: Uint8Array | null;
    try {
      bytes = await readFileBounded(path, FUNCTION_BOUNDS.artifactBytesMax);
    } catch (failure) {
      return await this.#quarantine(ref, String(failure));
    }
    if (bytes === null) {
      this.#index.remove(ref.functionId, ref.version);
      onRead('miss');
      return null;
    }
    const digest = await runInSlices(clock, sha256Of(bytes));
    if (digest !== ref.sha256) return await this.#quarantine(ref, 'the digest differs');
    this.#index.touch(ref.functionId, ref.version, clock.nowMs());
    onRead('hit');
    return bytes;
  }

  /**
   * The caller has verified `bytes`. `no_room`: pinned artifacts leave no space. `failed`: the disk refused,
   * and the log says why. Neither leaves anything behind.
   */
  async put(ref: ArtifactRef, bytes: Uint8Array): Promise<'stored' | 'no_room' | 'failed'> {
    const { dir, clock, log, random } = this.#options;
    const path = pathOf(dir, ref.functionId, ref.version);
    this.#index.remove(ref.functionId, ref.version);
    if (!(await this.#makeRoom(bytes.byteLength))) return 'no_room';
    const tag = Buffer.from(random(8)).toString('hex');
    try {
      await writeDurably(path, bytes, { mode: 0o600, tag });
      await syncDirectory(dir);
    } catch (failure) {
      const { functionId: function_id, version } = ref;
      log.error('an artifact could not be stored', { function_id, version, error: String(failure) });
      return 'failed';
    }
    this.#index.put({
      function_id: ref.functionId,
      version: ref.version,
      sha256: ref.sha256,
      size: bytes.byteLength,
      last_used: clock.nowMs(),
      state: 'verified',
      pinned: 0,
    });
    return 'stored';
  }

  /** Never evicts this one version of a function to make room; null unpins the function. */
  pin(functionId: string, version: string | null): void {
    this.#index.pin(functionId, version);
  }

  /** Removes every version of a function. */
  async evict(functionId: string): Promise<void> {
    if (!isFunctionId(functionId)) throw new Error('the id of a function is not well formed');
    const { dir, log } = this.#options;
    for (const version of this.#index.versionsOf(functionId)) this.#index.remove(functionId, version);
    try {
      await rm(join(dir, functionId), { recursive: true, force: true });
    } catch (failure) {
      log.warn('artifacts that nobody needs could not be removed', {
        function_id: functionId,
        error: String(failure),
      });
    }
  }

  /** Whether the file of this version is there, with its size; its bytes are not read. */
  async holds({ functionId, version }: Omit<ArtifactRef, 'sha256'>): Promise<boolean> {
    const size = this.#index.sizeOf(functionId, version);
    if (size === null) return false;
    try {
      const facts = await lstat(pathOf(this.#options.dir, functionId, version));
      if (facts.isFile() && facts.size === size) return true;
    } catch (failure) {
      const { log } = this.#options;
      log.warn('an artifact is not in the cache any more', {
        function_id: functionId,
        error: String(failure),
      });
    }
    this.#index.remove(functionId, version);
    return false;
  }

  isStored(functionId: string): boolean {
    return this.#index.has(functionId);
  }

  /** Ids of the functions that have an artifact here. */
  storedFunctions(): string[] {
    return this.#index.functions();
  }

  totals(): { entries: number; bytes: number } {
    return this.#index.totals();
  }

  close(): void {
    this.#index.close();
  }

  /** Evicts the least recently used until `size` more bytes and one more entry fit. */
  async #makeRoom(size: number): Promise<boolean> {
    const { dir, bytesMax, entriesMax } = this.#options;
    const totals = this.#index.totals();
    let { entries, bytes } = totals;
    if (totals.pinnedBytes + size > bytesMax) return false;
    if (entries + 1 <= entriesMax && bytes + size <= bytesMax) return true;
    for (const entry of this.#index.evictable()) {
      this.#index.remove(entry.function_id, entry.version);
      await rm(pathOf(dir, entry.function_id, entry.version), { force: true });
      entries -= 1;
      bytes -= entry.size;
      if (entries + 1 <= entriesMax && bytes + size <= bytesMax) return true;
    }
    return false;
  }

  /** Moves a damaged file aside; the newest few stay for an operator who searches for the reason. */
  async #quarantine(ref: ArtifactRef, reason: string): Promise<null> {
    const { dir, clock, log, onRead } = this.#options;
    const { functionId, version } = ref;
    log.error('an artifact on disk is not what was stored; it is moved to quarantine', {
      function_id: functionId,
      version,
      error: reason,
    });
    this.#index.remove(functionId, version);
    onRead('quarantined');
    const stamp = String(Math.floor(clock.nowMs())).padStart(16, '0');
    try {
      const name = `${stamp}-${functionId}-${version}${SUFFIX}`;
      await moveAside(pathOf(dir, functionId, version), join(dir, QUARANTINE_DIR), name);
    } catch (failure) {
      log.warn('a damaged artifact could not be moved', { function_id: functionId, error: String(failure) });
    }
    return null;
  }
}

/** Moves a file into `folder`, which keeps the newest of its files. */
async function moveAside(path: string, folder: string, name: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await rename(path, join(folder, name));
  const names = (await readdir(folder)).sort();
  for (const old of names.slice(0, Math.max(0, names.length - EDGE_BOUNDS.quarantineFilesMax))) {
    await rm(join(folder, old), { force: true, recursive: true });
  }
}
