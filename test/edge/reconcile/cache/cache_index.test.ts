// The index of the artifact cache goes on while its file fails, and fills the file again afterwards.
import { beforeEach, describe, expect, test } from 'bun:test';
import { createManualClock, type ManualClock } from '../../../../src/base/clock.ts';
import { EDGE_TUNING } from '../../../../src/base/limits/edge.ts';
import { createLog } from '../../../../src/base/log.ts';
import { type CacheIndex, openCacheIndex } from '../../../../src/edge/reconcile/cache/cache_index.ts';
import {
  type CacheEntry,
  CacheInUse,
  type CacheStore,
} from '../../../../src/edge/reconcile/cache/cache_store.ts';

/** A store over an array; while `fault` is set, every method throws it. */
let fault: Error | null;
let stored: Map<string, CacheEntry>;
let opens: number;
let clock: ManualClock;
let lines: string[];

const full = (): Error => new Error('database or disk is full');
const obey = (): void => {
  if (fault !== null) throw fault;
};

function openStore(): CacheStore {
  opens += 1;
  obey();
  return {
    list: () => [...stored.values()],
    put(entry) {
      obey();
      stored.set(`${entry.function_id}/${entry.version}`, entry);
    },
    remove(functionId, version) {
      obey();
      stored.delete(`${functionId}/${version}`);
    },
    replaceAll(entries) {
      obey();
      stored = new Map([...entries].map((entry) => [`${entry.function_id}/${entry.version}`, entry]));
    },
    close: obey,
  };
}

beforeEach(() => {
  fault = null;
  stored = new Map();
  opens = 0;
  clock = createManualClock(1_000);
  lines = [];
});

function open(): CacheIndex {
  return openCacheIndex({
    openStore,
    clock,
    log: createLog({ clock, write: (line) => void lines.push(line) }),
  });
}

const entry = (name: string, changed: Partial<CacheEntry> = {}): CacheEntry => ({
  function_id: name,
  version: '1.0.0',
  sha256: 'digest',
  size: 10,
  last_used: 0,
  state: 'verified',
  pinned: 0,
  ...changed,
});

describe('The index of the artifact cache', () => {
  test('counts entries, bytes and pinned bytes through every change', () => {
    const index = open();
    index.put(entry('a'));
    index.put(entry('a', { version: '2.0.0', size: 20 }));
    index.put(entry('b', { size: 5 }));
    index.put(entry('b', { size: 7 }));
    expect(index.totals()).toEqual({ entries: 3, bytes: 37, pinnedBytes: 0 });
    index.pin('a', '2.0.0');
    expect(index.totals().pinnedBytes).toBe(20);
    index.pin('a', '1.0.0');
    expect(index.totals().pinnedBytes).toBe(10);
    index.touch('b', '1.0.0', 9);
    expect(index.evictable().map(({ function_id, version }) => `${function_id} ${version}`)).toEqual([
      'a 2.0.0',
      'b 1.0.0',
    ]);
    for (const version of index.versionsOf('a')) index.remove('a', version);
    index.remove('a', '1.0.0');
    expect(index.has('a')).toBe(false);
    expect(index.totals()).toEqual({ entries: 1, bytes: 7, pinnedBytes: 0 });
    expect(open().list()).toEqual([entry('b', { size: 7, last_used: 9 })]);
  });

  test('goes on without its file, and fills it again once it can', async () => {
    const index = open();
    index.put(entry('a'));
    fault = full();
    index.put(entry('b'));
    index.remove('a', '1.0.0');
    index.touch('b', '1.0.0', 5);
    index.pin('b', '1.0.0');
    expect(index.functions()).toEqual(['b']);
    expect(lines.filter((line) => line.includes('"error"'))).toHaveLength(1);
    expect([...stored.keys()]).toEqual(['a/1.0.0']);
    fault = null;
    index.put(entry('c'));
    expect([...stored.keys()]).toEqual(['a/1.0.0']);
    await clock.advance(EDGE_TUNING.cacheIndexRetryMs);
    index.put(entry('d'));
    expect([...stored.keys()].toSorted()).toEqual(['b/1.0.0', 'c/1.0.0', 'd/1.0.0']);
    expect(stored.get('b/1.0.0')).toMatchObject({ last_used: 5, pinned: 1 });
    index.remove('c', '1.0.0');
    expect(stored.has('c/1.0.0')).toBe(false);
  });

  test('opens without a file that cannot be opened, and opens it later', async () => {
    fault = full();
    const index = open();
    index.put(entry('a'));
    expect(index.has('a')).toBe(true);
    await clock.advance(EDGE_TUNING.cacheIndexRetryMs);
    index.put(entry('b'));
    expect(opens).toBe(2);
    fault = null;
    await clock.advance(EDGE_TUNING.cacheIndexRetryMs);
    index.put(entry('c'));
    expect(opens).toBe(3);
    expect(stored.size).toBe(3);
    fault = full();
    index.close();
    expect(lines.at(-1)).toContain('did not close');
  });

  test('does not open beside another process', () => {
    fault = new CacheInUse('in use');
    expect(open).toThrow(CacheInUse);
  });
});
