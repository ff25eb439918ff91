// The index of the artifact cache: sizes, last use and pins in memory, and on disk as far as the disk allows.
import type { Clock } from '../../../base/clock.ts';
import { EDGE_TUNING } from '../../../base/limits/edge.ts';
import type { Log } from '../../../base/log.ts';
import { type CacheEntry, CacheInUse, type CacheStore } from './cache_store.ts';

/** No method throws: a store that fails is written again later, and the files can replace it. */
export type CacheIndex = {
  put(entry: CacheEntry): void;
  list(): CacheEntry[];
  touch(functionId: string, version: string, nowMs: number): void;
  pin(functionId: string, version: string | null): void;
  remove(functionId: string, version: string): void;
  versionsOf(functionId: string): string[];
  functions(): string[];
  has(functionId: string): boolean;
  /** Null where there is no such entry. */
  sizeOf(functionId: string, version: string): number | null;
  /** Entries that are not pinned, least recently used first. */
  evictable(): CacheEntry[];
  totals(): { entries: number; bytes: number; pinnedBytes: number };
  close(): void;
};

/** `openStore` is called again while the store cannot be opened. Throws `CacheInUse` only. */
export function openCacheIndex(options: { openStore: () => CacheStore; clock: Clock; log: Log }): CacheIndex {
  const functions = new Map<string, Map<string, CacheEntry>>();
  const totals = { entries: 0, bytes: 0, pinnedBytes: 0 };
  const count = (entry: CacheEntry, sign: 1 | -1): void => {
    totals.entries += sign;
    totals.bytes += sign * entry.size;
    totals.pinnedBytes += sign * entry.size * entry.pinned;
  };
  const forget = (functionId: string, version: string): boolean => {
    const versions = functions.get(functionId);
    const entry = versions?.get(version);
    if (versions === undefined || entry === undefined) return false;
    count(entry, -1);
    versions.delete(version);
    if (versions.size === 0) functions.delete(functionId);
    return true;
  };
  const keep = (entry: CacheEntry): void => {
    forget(entry.function_id, entry.version);
    const versions = functions.get(entry.function_id) ?? new Map<string, CacheEntry>();
    functions.set(entry.function_id, versions.set(entry.version, entry));
    count(entry, 1);
  };
  const entries = (): CacheEntry[] => [...functions.values()].flatMap((versions) => [...versions.values()]);
  const mirror = createMirror({ ...options, entries, found: keep });
  const update = (entry: CacheEntry): void => {
    keep(entry);
    mirror.write((store) => store.put(entry));
  };
  return {
    put: update,
    list: entries,
    touch(functionId, version, nowMs) {
      const entry = functions.get(functionId)?.get(version);
      if (entry !== undefined) update({ ...entry, last_used: nowMs, state: 'verified' });
    },
    pin(functionId, version) {
      for (const entry of functions.get(functionId)?.values() ?? []) {
        const pinned = entry.version === version ? 1 : 0;
        if (entry.pinned !== pinned) update({ ...entry, pinned });
      }
    },
    remove(functionId, version) {
      if (forget(functionId, version)) mirror.write((store) => store.remove(functionId, version));
    },
    versionsOf: (functionId) => [...(functions.get(functionId)?.keys() ?? [])],
    functions: () => [...functions.keys()],
    has: (functionId) => functions.has(functionId),
    sizeOf: (functionId, version) => functions.get(functionId)?.get(version)?.size ?? null,
    evictable: () =>
      entries()
        .filter(({ pinned }) => pinned === 0)
        .toSorted((a, b) => a.last_used - b.last_used || (a.function_id < b.function_id ? -1 : 1)),
    totals: () => ({ ...totals }),
    close: () => mirror.close(),
  };
}

type Mirror = { write(change: (store: CacheStore) => void): void; close(): void };

/** Keeps a store beside the index; one that failed is opened and filled again, at most once per interval. */
function createMirror(options: {
  openStore: () => CacheStore;
  clock: Clock;
  log: Log;
  entries: () => CacheEntry[];
  /** An entry that the store had when it was first opened. */
  found: (entry: CacheEntry) => void;
}): Mirror {
  const { openStore, clock, log, entries, found } = options;
  let store: CacheStore | null = null;
  let failedMs: number | null = null;
  const fail = (failure: unknown): void => {
    if (failedMs === null) {
      log.error('the cache index cannot be written; it is kept in memory', { error: String(failure) });
    }
    failedMs = clock.monotonicMs();
  };
  const refill = (): void => {
    if (failedMs === null || clock.monotonicMs() - failedMs < EDGE_TUNING.cacheIndexRetryMs) return;
    store ??= openStore();
    store.replaceAll(entries());
    failedMs = null;
    log.info('the cache index is on disk again');
  };
  try {
    store = openStore();
    for (const entry of store.list()) found(entry);
  } catch (failure) {
    if (failure instanceof CacheInUse) throw failure;
    fail(failure);
  }
  return {
    write(change) {
      try {
        if (failedMs !== null) refill();
        else if (store !== null) change(store);
      } catch (failure) {
        fail(failure);
      }
    },
    close() {
      try {
        store?.close();
      } catch (failure) {
        log.warn('the cache index did not close', { error: String(failure) });
      }
    },
  };
}
