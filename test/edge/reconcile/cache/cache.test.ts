// The artifact cache: atomic, verified, bounded, and able to open after any crash.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createManualClock, type ManualClock } from '../../../../src/base/clock.ts';
import { systemRandom } from '../../../../src/base/id.ts';
import { createLog } from '../../../../src/base/log.ts';
import {
  type ArtifactCache,
  type ArtifactRef,
  openCache,
} from '../../../../src/edge/reconcile/cache/cache.ts';
import { digest } from '../../fake_control.ts';
import { functionId } from '../../harness.ts';

let dir = '';
let clock: ManualClock;
let reads: string[] = [];
let opened: ArtifactCache[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'edge-cache-'));
  clock = createManualClock(1_000);
  reads = [];
  opened = [];
});
afterEach(() => {
  for (const cache of opened) cache.close();
  rmSync(dir, { recursive: true, force: true });
});

function open(limits: { bytesMax?: number; entriesMax?: number } = {}): ArtifactCache {
  const log = createLog({ clock, write: () => {} });
  const onRead = (result: string): void => void reads.push(result);
  const cache = openCache({
    dir,
    bytesMax: 1_000,
    entriesMax: 10,
    clock,
    random: systemRandom,
    log,
    onRead,
    ...limits,
  });
  opened.push(cache);
  return cache;
}
const reopen = (): ArtifactCache => {
  for (const cache of opened.splice(0)) cache.close();
  return open();
};
const ref = (n: number, text: string, version = '1.0.0'): ArtifactRef => ({
  functionId: functionId(n),
  version,
  sha256: digest(text),
});
const put = (cache: ArtifactCache, n: number, text: string, version?: string): Promise<string> =>
  cache.put(ref(n, text, version), new TextEncoder().encode(text));
const get = async (
  cache: ArtifactCache,
  n: number,
  text: string,
  version?: string,
): Promise<string | null> => {
  const bytes = await cache.get(ref(n, text, version));
  return bytes === null ? null : new TextDecoder().decode(bytes);
};
const fileOf = (n: number, version = '1.0.0'): string => join(dir, functionId(n), `${version}.wasm`);

describe('An artifact in the cache', () => {
  test('is read back as it was stored, also by a later process', async () => {
    expect(await get(open(), 1, 'one')).toBeNull();
    expect(await put(opened[0] ?? open(), 1, 'one')).toBe('stored');
    expect(await get(reopen(), 1, 'one')).toBe('one');
    expect(reads).toEqual(['miss', 'hit']);
    expect(statSync(fileOf(1)).mode & 0o777).toBe(0o600);
    expect(readdirSync(join(dir, functionId(1)))).toEqual(['1.0.0.wasm']);
  });

  test('is stored and read also where the clock gives fractions of a millisecond', async () => {
    await clock.advance(0.25);
    const cache = open();
    expect(await put(cache, 1, 'one')).toBe('stored');
    expect(await get(cache, 1, 'one')).toBe('one');
  });

  test('is stored beside other versions of its function, and evicted with them', async () => {
    const cache = open();
    await put(cache, 1, 'one', '1.0.0');
    await put(cache, 1, 'two', '2.0.0-rc.1');
    expect(await get(cache, 1, 'one', '1.0.0')).toBe('one');
    expect(await get(cache, 1, 'two', '2.0.0-rc.1')).toBe('two');
    await cache.evict(functionId(1));
    expect(existsSync(join(dir, functionId(1)))).toBe(false);
    expect(cache.isStored(functionId(1))).toBe(false);
    expect(cache.totals()).toMatchObject({ entries: 0, bytes: 0 });
  });
});

describe('A file that was tampered with', () => {
  test('is never returned, goes to quarantine, and can be stored again', async () => {
    const cache = open();
    await put(cache, 1, 'one');
    writeFileSync(fileOf(1), 'evil');
    expect(await get(cache, 1, 'one')).toBeNull();
    expect(existsSync(fileOf(1))).toBe(false);
    expect(readdirSync(join(dir, 'quarantine'))).toEqual([`0000000000001000-${functionId(1)}-1.0.0.wasm`]);
    expect(cache.isStored(functionId(1))).toBe(false);
    await put(cache, 1, 'one');
    expect(await get(cache, 1, 'one')).toBe('one');
    expect(reads).toEqual(['quarantined', 'hit']);
  });

  test('is never returned where it is a symbolic link', async () => {
    const cache = open();
    const elsewhere = join(dir, 'elsewhere');
    writeFileSync(elsewhere, 'one');
    mkdirSync(join(dir, functionId(1)));
    symlinkSync(elsewhere, fileOf(1));
    expect(await get(cache, 1, 'one')).toBeNull();
    expect(reads).toEqual(['quarantined']);
  });

  test('is one of a bounded number in quarantine', async () => {
    const cache = open();
    for (let i = 0; i < 20; i += 1) {
      await put(cache, 1, 'one');
      writeFileSync(fileOf(1), 'evil');
      await clock.advance(1);
      expect(await get(cache, 1, 'one')).toBeNull();
    }
    expect(readdirSync(join(dir, 'quarantine')).length).toBe(16);
  });
});

describe('A full cache', () => {
  test('evicts the least recently used, never a pinned one', async () => {
    const cache = open({ bytesMax: 30 });
    await put(cache, 1, 'a'.repeat(10));
    cache.pin(functionId(1), '1.0.0');
    await clock.advance(1);
    await put(cache, 2, 'b'.repeat(10));
    await clock.advance(1);
    await put(cache, 3, 'c'.repeat(10));
    await clock.advance(1);
    await get(cache, 2, 'b'.repeat(10));
    await put(cache, 4, 'd'.repeat(10));
    expect([1, 2, 3, 4].map((n) => existsSync(fileOf(n)))).toEqual([true, true, false, true]);
    expect(cache.totals()).toMatchObject({ entries: 3, bytes: 30 });
  });

  test('is full by its number of entries as well', async () => {
    const cache = open({ entriesMax: 2 });
    for (const n of [1, 2, 3]) {
      await put(cache, n, `f${n}`);
      await clock.advance(1);
    }
    expect([1, 2, 3].map((n) => existsSync(fileOf(n)))).toEqual([false, true, true]);
  });

  test('has no room when everything in it is pinned', async () => {
    const cache = open({ bytesMax: 10 });
    await put(cache, 1, 'a'.repeat(10));
    cache.pin(functionId(1), '1.0.0');
    expect(await put(cache, 2, 'b')).toBe('no_room');
    expect(existsSync(fileOf(2))).toBe(false);
    cache.pin(functionId(1), null);
    expect(await put(cache, 2, 'b')).toBe('stored');
  });

  test('pins one version of a function at a time', async () => {
    const cache = open({ bytesMax: 20 });
    await put(cache, 1, 'a'.repeat(10), '1.0.0');
    cache.pin(functionId(1), '1.0.0');
    await put(cache, 1, 'b'.repeat(10), '2.0.0');
    cache.pin(functionId(1), '2.0.0');
    await put(cache, 2, 'c'.repeat(10));
    expect(existsSync(fileOf(1, '1.0.0'))).toBe(false);
    expect(existsSync(fileOf(1, '2.0.0'))).toBe(true);
  });
});

describe('After a crash', () => {
  test('half-written files are removed', async () => {
    await put(open(), 1, 'one');
    writeFileSync(join(dir, functionId(1), '.tmp-0011'), 'half');
    reopen();
    expect(readdirSync(join(dir, functionId(1)))).toEqual(['1.0.0.wasm']);
  });

  test('a file without an index entry gets one, and is still verified when it is read', async () => {
    await put(open(), 1, 'one');
    mkdirSync(join(dir, functionId(2)));
    writeFileSync(fileOf(2), 'two');
    const cache = reopen();
    expect(cache.totals()).toMatchObject({ entries: 2, bytes: 6 });
    expect(await get(cache, 2, 'two')).toBe('two');
    expect(await get(cache, 2, 'other')).toBeNull();
  });

  test('an index entry without a file is dropped', async () => {
    await put(open(), 1, 'one');
    rmSync(fileOf(1));
    const cache = reopen();
    expect(cache.totals()).toMatchObject({ entries: 0 });
    expect(await get(cache, 1, 'one')).toBeNull();
  });

  test('a broken index is renamed and made again', async () => {
    await put(open(), 1, 'one');
    for (const cache of opened.splice(0)) cache.close();
    writeFileSync(join(dir, 'index.sqlite'), 'not a database, and long enough to be read as one'.repeat(100));
    const cache = open();
    expect(await get(cache, 1, 'one')).toBe('one');
    expect(cache.totals()).toMatchObject({ entries: 1, bytes: 3 });
    expect(readFileSync(join(dir, 'index.sqlite.broken'), 'utf8')).toStartWith('not a database');
  });

  test('an index with other columns is replaced', async () => {
    const { Database } = await import('bun:sqlite');
    const database = new Database(join(dir, 'index.sqlite'));
    database.run('create table artifacts (x integer)');
    database.close();
    expect(await put(open(), 1, 'one')).toBe('stored');
  });
});

test('A second process cannot open the cache, and does not take its index for a broken one', async () => {
  const cache = open();
  await put(cache, 1, 'one');
  expect(() => open()).toThrow('another process');
  expect(existsSync(join(dir, 'index.sqlite.broken'))).toBe(false);
  expect(await get(cache, 1, 'one')).toBe('one');
  expect(await get(reopen(), 1, 'one')).toBe('one');
});

describe('A name from the network', () => {
  for (const [id, version] of [
    ['../../etc', '1.0.0'],
    ['fn_1/../x', '1.0.0'],
    [functionId(1), '../1.0.0'],
    [functionId(1), '1.0.0/x'],
    ['quarantine', '1.0.0'],
  ] as const) {
    test(`cannot leave the cache directory: ${id} ${version}`, async () => {
      const cache = open();
      const bad = { functionId: id, version, sha256: digest('x') };
      await expect(cache.get(bad)).rejects.toThrow();
      await expect(cache.put(bad, new Uint8Array(1))).rejects.toThrow();
    });
  }

  test('cannot evict another directory', async () => {
    await expect(open().evict('../x')).rejects.toThrow();
  });
});

describe('A disk that refuses', () => {
  test('leaves artifacts in memory, says so, and is used again once it can be', async () => {
    const cache = open();
    writeFileSync(join(dir, functionId(1)), 'in the way');
    expect(await put(cache, 1, 'one')).toBe('failed');
    expect(cache.isStored(functionId(1))).toBe(false);
    expect(cache.totals()).toMatchObject({ entries: 0, bytes: 0 });
    rmSync(join(dir, functionId(1)));
    expect(await put(cache, 1, 'one')).toBe('stored');
    expect(await get(cache, 1, 'one')).toBe('one');
  });

  test('cannot keep a damaged artifact from being pulled again', async () => {
    const cache = open();
    await put(cache, 1, 'one');
    writeFileSync(fileOf(1), 'evil');
    writeFileSync(join(dir, 'quarantine'), 'in the way');
    expect(await get(cache, 1, 'one')).toBeNull();
    expect(await put(cache, 1, 'one')).toBe('stored');
    expect(await get(cache, 1, 'one')).toBe('one');
  });

  test.each([
    ['a directory', () => mkdirSync(join(dir, 'index.sqlite'))],
    ['garbage', () => writeFileSync(join(dir, 'index.sqlite'), 'x'.repeat(9_000))],
    ['empty', () => writeFileSync(join(dir, 'index.sqlite'), '')],
  ])('does not keep the cache shut when its index is %s', async (_, damage) => {
    await put(open(), 1, 'one');
    for (const cache of opened.splice(0)) cache.close();
    rmSync(join(dir, 'index.sqlite'));
    damage();
    expect(await get(open(), 1, 'one')).toBe('one');
    expect(await get(reopen(), 1, 'one')).toBe('one');
  });
});
