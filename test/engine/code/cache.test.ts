// Compiled files: only what this node wrote, under that very name, comes back.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { runAtOnce } from '../../../src/base/concurrency.ts';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createManualClock, createSystemClock } from '../../../src/base/clock.ts';
import { systemRandom } from '../../../src/base/id.ts';
import { createLog } from '../../../src/base/log.ts';
import {
  codeName,
  evictionsOf,
  openCodeCache,
  openFile,
  removeLeftover,
  sealFile,
} from '../../../src/engine/code/cache.ts';
import { cpuFeaturesOf } from '../../../src/engine/code/cpu.ts';
import { openNodeKey } from '../../../src/engine/code/node_key.ts';

const key = new Uint8Array(32).fill(7);
const code = new Uint8Array([1, 2, 3, 4, 5]);
const entry = { execution: 'interpreter', code } as const;
let directory = '';
const lines: string[] = [];
const log = createLog({ clock: createSystemClock(), level: 'warn', write: (line) => void lines.push(line) });
const cacheDir = (): string => join(directory, 'compiled');

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'edge-test-'));
});
afterAll(() => rm(directory, { recursive: true }));

describe('A sealed file', () => {
  test.each([['aot'], ['interpreter']] as const)('opens as it was sealed (%s)', (execution) => {
    expect(runAtOnce(openFile(key, 'a', runAtOnce(sealFile(key, 'a', { execution, code }))))).toEqual({
      execution,
      code: Buffer.from(code),
    });
  });

  test('does not open with any one bit changed', () => {
    const file = runAtOnce(sealFile(key, 'a', entry));
    for (let bit = 0; bit < file.length * 8; bit += 1) {
      const changed = Uint8Array.from(file);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(runAtOnce(openFile(key, 'a', changed))).toBeNull();
    }
  });

  test('does not open when it is cut short at any length', () => {
    const file = runAtOnce(sealFile(key, 'a', entry));
    for (let length = 0; length < file.length; length += 1)
      expect(runAtOnce(openFile(key, 'a', file.subarray(0, length)))).toBeNull();
  });

  test('does not open under another name or with another key', () => {
    const file = runAtOnce(sealFile(key, 'a', entry));
    expect(runAtOnce(openFile(key, 'b', file))).toBeNull();
    expect(runAtOnce(openFile(new Uint8Array(32), 'a', file))).toBeNull();
  });
});

describe('The name of compiled code', () => {
  const facts = { digest: 'd', wasmedgeVersion: '0.14.1', cpuFeatures: 'sse', compileOptions: 'o' };
  test.each([['digest'], ['wasmedgeVersion'], ['cpuFeatures'], ['compileOptions']] as const)(
    'differs by %s',
    (fact) => {
      expect(codeName({ ...facts, [fact]: 'other' })).not.toBe(codeName(facts));
      expect(codeName(facts)).toMatch(/^[0-9a-f]{64}$/);
    },
  );
});

describe('The features of a processor', () => {
  test('are its model and flags, without what changes from one reading to the next', () => {
    const text =
      'model name\t: X\ncpu MHz\t\t: 2100.1\nflags\t\t: fpu avx2\n\nprocessor\t: 1\nflags\t: none\n';
    expect(cpuFeaturesOf(text)).toBe('model name=X\nflags=fpu avx2');
  });
});

describe('The bound of the directory', () => {
  const files = [
    { name: 'new', sizeBytes: 4, usedMs: 3 },
    { name: 'old', sizeBytes: 4, usedMs: 1 },
    { name: 'mid', sizeBytes: 4, usedMs: 2 },
  ];
  test.each([
    [12, []],
    [11, ['old']],
    [4, ['old', 'mid']],
    [0, ['old', 'mid', 'new']],
  ])('of %d bytes evicts %p', (bytesMax, names) => {
    expect(evictionsOf(files, bytesMax)).toEqual(names);
  });
});

describe('A directory of compiled files', () => {
  const open = (bytesMax = 1_000): ReturnType<typeof openCodeCache> =>
    openCodeCache({
      dir: cacheDir(),
      key,
      bytesMax,
      clock: createManualClock(5_000),
      randomBytes: systemRandom,
      log,
    });

  test('gives back what was put, also after it was opened again', async () => {
    await (await open()).put('a', entry);
    expect(await (await open()).get('a')).toEqual({ execution: 'interpreter', code });
  });

  test('deletes a file that somebody changed, and has it no more', async () => {
    const cache = await open();
    await cache.put('b', entry);
    const path = join(cacheDir(), 'b.bin');
    const file = await readFile(path);
    file[17] = (file[17] ?? 0) ^ 1;
    await writeFile(path, file);
    expect(await cache.get('b')).toBeNull();
    expect((await readdir(cacheDir())).includes('b.bin')).toBe(false);
  });

  test('does not follow a link', async () => {
    const cache = await open();
    await cache.put('c', entry);
    await symlink(join(cacheDir(), 'c.bin'), join(cacheDir(), 'd.bin'));
    expect(await cache.get('d')).toBeNull();
  });

  test('keeps its bound, and no temporary file', async () => {
    const cache = await open(150);
    for (const name of ['e', 'f', 'g', 'h']) await cache.put(name, entry);
    const names = await readdir(cacheDir());
    expect(names.length).toBeLessThanOrEqual(3);
    expect(names.filter((name) => name.startsWith('.'))).toEqual([]);
  });

  test('removes what a crash left, whatever it is', async () => {
    const left = join(cacheDir(), '.tmp-work-a');
    await mkdir(join(left, ...Array.from({ length: 300 }, () => 'deep')), { recursive: true });
    for (let file = 0; file < 500; file += 1) await writeFile(join(left, `-\n${file}`), '');
    expect(Bun.spawnSync(['mkfifo', join(left, 'code')]).exitCode).toBe(0);
    await symlink(directory, join(left, 'up'));
    await chmod(left, 0o500);
    await writeFile(join(cacheDir(), '.tmp-b'), '');
    await open();
    expect((await readdir(cacheDir())).filter((name) => name.startsWith('.tmp-work'))).toEqual(
      process.getuid?.() === 0 ? [] : ['.tmp-work-a'],
    );
    await chmod(left, 0o700).catch(() => undefined);
    await open();
    expect((await readdir(cacheDir())).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  test('opens with a leftover that cannot be removed, and says so', async () => {
    const path = join(cacheDir(), 'x'.repeat(300));
    await removeLeftover(path, log);
    expect(lines.at(-1)).toContain(path);
    expect(lines.at(-1)).toContain('ENAMETOOLONG');
  });

  test('evicts also what is no file', async () => {
    await mkdir(join(cacheDir(), 'i.bin'));
    await (await open(150)).put('j', entry);
    await (await open(40)).put('j', entry);
    expect(await readdir(cacheDir())).toEqual([]);
  });

  test('has nothing of a name that was never put', async () => {
    expect(await (await open()).get('never')).toBeNull();
  });
});

describe('The key of a node', () => {
  test('is made once, has 32 bytes, and is for its owner only', async () => {
    const dataDir = join(directory, 'data');
    const first = await openNodeKey({ dataDir, randomBytes: systemRandom, log });
    expect(first).toHaveLength(32);
    expect(await openNodeKey({ dataDir, randomBytes: systemRandom, log })).toEqual(first);
    expect((await stat(join(dataDir, 'node.key'))).mode & 0o777).toBe(0o600);
    expect(await readdir(dataDir)).toEqual(['node.key']);
  });

  test.each([
    ['cut short', (path: string) => writeFile(path, 'short')],
    ['empty', (path: string) => writeFile(path, '')],
    ['too long', (path: string) => writeFile(path, 'x'.repeat(33))],
    ['a directory', (path: string) => mkdir(join(path, 'inside'), { recursive: true })],
    ['a pipe', (path: string) => Bun.$`mkfifo ${path}`.quiet()],
  ])('is made again where it is %s', async (what, damage) => {
    const dataDir = join(directory, what);
    const path = join(dataDir, 'node.key');
    const first = await openNodeKey({ dataDir, randomBytes: systemRandom, log });
    await rm(path);
    await damage(path);
    const second = await openNodeKey({ dataDir, randomBytes: systemRandom, log });
    expect(second).toHaveLength(32);
    expect(second).not.toEqual(first);
    expect(await openNodeKey({ dataDir, randomBytes: systemRandom, log })).toEqual(second);
    expect((await readdir(dataDir)).toSorted()).toEqual(['node.key', 'node.key.damaged']);
  });

  test('lasts as long as the process where the disk refuses it', async () => {
    const dataDir = join(directory, 'in the way');
    await writeFile(dataDir, '');
    expect(await openNodeKey({ dataDir, randomBytes: systemRandom, log })).toHaveLength(32);
    expect(lines.at(-1)).toContain('cannot be kept');
  });
});

test('A directory of compiled files that cannot be made stops nobody', async () => {
  const dir = join(directory, 'occupied');
  await writeFile(dir, '');
  const options = { dir, key, bytesMax: 1_000, clock: createManualClock(0), randomBytes: systemRandom, log };
  const cache = await openCodeCache(options);
  expect(await cache.get('a')).toBeNull();
  expect(cache.put('a', entry)).rejects.toThrow();
});
