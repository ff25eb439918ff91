// The artifact cache of a node: `{dir}/{function_id}/{version}.wasm`, verified at every read, bounded, LRU.
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Value } from '@sinclair/typebox/value';
import type { Clock } from '../../../base/clock.ts';
import { readFileBounded, syncDirectory, TEMPORARY_PREFIX, writeDurably } from '../../../base/durable.ts';
import type { RandomBytes } from '../../../base/id.ts';
import { EDGE_BOUNDS } from '../../../base/limits/edge.ts';
import { FUNCTION_BOUNDS } from '../../../base/limits/function.ts';
import type { Log } from '../../../base/log.ts';
import { Id, Semver } from '../../../model/names.ts';
import { CacheInUse, type CacheIndex, openCacheIndex } from './cache_index.ts';

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

export function digestOf(bytes: Uint8Array): string {
  return new Bun.CryptoHasher('sha256').update(bytes).digest('hex');
}

/** Makes the index agree with `dir`: removes temporary files, adds unknown artifacts, drops missing ones. */
function reconcileIndex(index: CacheIndex, dir: string, nowMs: number): void {
  const known = new Map(index.list().map((entry) => [`${entry.function_id}/${entry.version}`, entry]));
  for (const folder of readdirSync(dir, { withFileTypes: true })) {
    if (!folder.isDirectory() || !isFunctionId(folder.name)) continue;
    for (const file of readdirSync(join(dir, folder.name), { withFileTypes: true })) {
      const path = join(dir, folder.name, file.name);
      const version = file.name.slice(0, -SUFFIX.length);
      if (file.name.startsWith(TEMPORARY_PREFIX)) rmSync(path, { force: true, recursive: true });
      if (!file.isFile() || !file.name.endsWith(SUFFIX) || !isVersion(version)) continue;
      const entry = known.get(`${folder.name}/${version}`);
      known.delete(`${folder.name}/${version}`);
      const { size } = statSync(path);
      if (entry?.size === size) continue;
      index.put({
        function_id: folder.name,
        version,
        sha256: entry?.sha256 ?? '',
        size,
        last_used: entry?.last_used ?? nowMs,
        state: 'unverified',
        pinned: entry?.pinned ?? 0,
      });
    }
  }
  for (const { function_id, version } of known.values()) index.remove(function_id, version);
}

/** Whether `openCache` threw because another process has the cache in this directory. */
export function isInUse(failure: unknown): boolean {
  return failure instanceof CacheInUse;
}

/** Throws where another process has the cache in this directory. */
export function openCache(options: CacheOptions): ArtifactCache {
  const { dir, clock, log } = options;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const index = openCacheIndex({ path: join(dir, 'index.sqlite'), log });
  reconcileIndex(index, dir, clock.nowMs());
  const stored = new Map<string, Set<string>>();
  for (const { function_id, version } of index.list()) {
    stored.set(function_id, (stored.get(function_id) ?? new Set()).add(version));
  }
  return new ArtifactCache(options, index, stored);
}

export class ArtifactCache {
  readonly #options: CacheOptions;
  readonly #index: CacheIndex;
  /** The stored versions of each function. */
  readonly #stored: Map<string, Set<string>>;

  constructor(options: CacheOptions, index: CacheIndex, stored: Map<string, Set<string>>) {
    this.#options = options;
    this.#index = index;
    this.#stored = stored;
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
      this.#forget(ref.functionId, ref.version);
      onRead('miss');
      return null;
    }
    if (digestOf(bytes) !== ref.sha256) return await this.#quarantine(ref, 'the digest differs');
    this.#index.touch(ref.functionId, ref.version, clock.nowMs());
    onRead('hit');
    return bytes;
  }

  /** The caller has verified `bytes`. `no_room`: pinned artifacts leave no space, and nothing was written. */
  async put(ref: ArtifactRef, bytes: Uint8Array): Promise<'stored' | 'no_room'> {
    const { dir, clock, random } = this.#options;
    const path = pathOf(dir, ref.functionId, ref.version);
    this.#forget(ref.functionId, ref.version);
    if (!(await this.#makeRoom(bytes.byteLength))) return 'no_room';
    const tag = Buffer.from(random(8)).toString('hex');
    await writeDurably(path, bytes, { mode: 0o600, tag });
    await syncDirectory(dir);
    this.#index.put({
      function_id: ref.functionId,
      version: ref.version,
      sha256: ref.sha256,
      size: bytes.byteLength,
      last_used: clock.nowMs(),
      state: 'verified',
      pinned: 0,
    });
    this.#stored.set(ref.functionId, (this.#stored.get(ref.functionId) ?? new Set()).add(ref.version));
    return 'stored';
  }

  /** Never evicts this one version of a function to make room; null unpins the function. */
  pin(functionId: string, version: string | null): void {
    this.#index.pin(functionId, version);
  }

  /** Removes every version of a function. */
  async evict(functionId: string): Promise<void> {
    if (!isFunctionId(functionId)) throw new Error('the id of a function is not well formed');
    for (const version of this.#stored.get(functionId) ?? []) this.#forget(functionId, version);
    await rm(join(this.#options.dir, functionId), { recursive: true, force: true });
  }

  isStored(functionId: string): boolean {
    return this.#stored.has(functionId);
  }

  /** Ids of the functions that have an artifact here. */
  storedFunctions(): string[] {
    return [...this.#stored.keys()];
  }

  totals(): { entries: number; bytes: number } {
    return this.#index.totals();
  }

  close(): void {
    this.#index.close();
  }

  #forget(functionId: string, version: string): void {
    this.#index.remove(functionId, version);
    const versions = this.#stored.get(functionId);
    versions?.delete(version);
    if (versions?.size === 0) this.#stored.delete(functionId);
  }

  /** Evicts the least recently used until `size` more bytes and one more entry fit. */
  async #makeRoom(size: number): Promise<boolean> {
    const { dir, bytesMax, entriesMax } = this.#options;
    const totals = this.#index.totals();
    let { entries, bytes } = totals;
    if (totals.pinnedBytes + size > bytesMax) return false;
    if (entries + 1 <= entriesMax && bytes + size <= bytesMax) return true;
    for (const entry of this.#index.evictable()) {
      this.#forget(entry.function_id, entry.version);
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
    const folder = join(dir, QUARANTINE_DIR);
    const stamp = String(Math.floor(clock.nowMs())).padStart(16, '0');
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await rename(
      pathOf(dir, functionId, version),
      join(folder, `${stamp}-${functionId}-${version}${SUFFIX}`),
    );
    const names = (await readdir(folder)).sort();
    for (const name of names.slice(0, Math.max(0, names.length - EDGE_BOUNDS.quarantineFilesMax))) {
      await rm(join(folder, name), { force: true, recursive: true });
    }
    this.#forget(functionId, version);
    onRead('quarantined');
    return null;
  }
}
