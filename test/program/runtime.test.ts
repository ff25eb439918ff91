// The unpacked libraries: used when sound, replaced otherwise, never in part or from a hostile archive.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { joinFrames, packFiles, TAR_END, tarEntry, writeArchive } from '../../native/build/pack.ts';
import { createManualClock, createSystemClock } from '../../src/base/clock.ts';
import { childEnvironment } from '../../src/program/child.ts';
import {
  isSound,
  openRuntime,
  runtimeBases,
  type RuntimeManifest,
  markRuntimeInUse,
} from '../../src/program/embedded/runtime.ts';
import { createTarReader } from '../../src/program/embedded/tar_reader.ts';
import { unpackRuntime } from '../../src/program/embedded/unpacker.ts';

const FILES: Record<string, Uint8Array> = {
  'libempty.so': new Uint8Array(),
  'libblock.so.1': new Uint8Array(512).fill(7),
  'liblong.so.0': crypto.getRandomValues(new Uint8Array(40_001)),
};

let dir = '';
let base = '';
let archivePath = '';
let manifest: RuntimeManifest = { archive_sha256: '', archive_bytes: 0, files: [] };

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'edge-unpack-'));
  base = join(dir, 'base');
  archivePath = join(dir, 'engine.tar.zst');
  for (const name of ['files', 'base']) mkdirSync(join(dir, name), { mode: 0o700 });
  for (const [name, bytes] of Object.entries(FILES)) await writeFile(join(dir, 'files', name), bytes);
  const names = Object.keys(FILES);
  const archive = joinFrames([
    await packFiles(join(dir, 'files'), names.slice(0, 2)),
    await packFiles(join(dir, 'files'), names.slice(2)),
  ]);
  const manifestPath = join(dir, 'engine.json');
  manifest = await writeArchive({ dir: join(dir, 'files'), names, archive, archivePath, manifestPath });
});
afterEach(() => rm(dir, { recursive: true }));

const unpack = (of: RuntimeManifest = manifest, nowMs = createSystemClock().nowMs()): Promise<void> =>
  unpackRuntime({
    archive: Bun.file(archivePath),
    manifest: of,
    base,
    clock: createManualClock(nowMs),
    write: () => {},
  });

describe('Unpacking', () => {
  test('writes every file with its bytes, for this user only, under the digest of the archive', async () => {
    await unpack();
    expect(await readdir(base)).toEqual([manifest.archive_sha256]);
    for (const [name, bytes] of Object.entries(FILES)) {
      const path = join(base, manifest.archive_sha256, name);
      expect(new Uint8Array(await readFile(path))).toEqual(new Uint8Array(bytes));
      expect((await stat(path)).mode & 0o777).toBe(0o500);
    }
    expect(isSound(join(base, manifest.archive_sha256), manifest)).toBe(true);
  });

  test('by several processes at once leaves one sound directory and nothing else', async () => {
    await Promise.all([unpack(), unpack(), unpack(), unpack()]);
    expect(await readdir(base)).toEqual([manifest.archive_sha256]);
    expect(isSound(join(base, manifest.archive_sha256), manifest)).toBe(true);
  });

  test('leaves nothing behind when a file is not as it was packed', async () => {
    const files = manifest.files.map((file) => ({ ...file, sha256: '0'.repeat(64) }));
    await expect(unpack({ ...manifest, files })).rejects.toThrow('is not as it was packed');
    expect(await readdir(base)).toEqual([]);
  });

  test('leaves nothing behind when the archive is cut short', async () => {
    const bytes = await Bun.file(archivePath).bytes();
    await writeFile(archivePath, bytes.slice(0, bytes.length - 40));
    await expect(unpack()).rejects.toThrow();
    expect(await readdir(base)).toEqual([]);
  });

  test('removes what a dead unpacker left more than an hour ago, and nothing younger', async () => {
    mkdirSync(join(base, '.unpack-old'));
    mkdirSync(join(base, '.unpack-new'));
    await utimes(join(base, '.unpack-old'), 1_000, 1_000);
    await utimes(join(base, '.unpack-new'), 5_000, 5_000);
    await unpack(manifest, 6_000_000);
    expect((await readdir(base)).toSorted()).toEqual(['.unpack-new', manifest.archive_sha256].toSorted());
  });

  test('removes libraries of other builds that were not in use for 30 days, and nothing else', async () => {
    const [used, unused, other] = ['a'.repeat(64), 'b'.repeat(64), 'wasm'];
    const nowMs = 100 * 86_400_000;
    for (const name of [used, unused, other]) {
      mkdirSync(join(base, name), { mode: 0o700 });
      await utimes(join(base, name), 1_000, 1_000);
    }
    markRuntimeInUse(join(base, used), createManualClock(nowMs - 29 * 86_400_000)).close();
    await unpack(manifest, nowMs);
    expect((await readdir(base)).toSorted()).toEqual([used, other, manifest.archive_sha256].toSorted());
  });

  test('does not depend on marking the libraries as in use', () => {
    expect(() => markRuntimeInUse(join(base, 'gone'), createSystemClock()).close()).not.toThrow();
  });
});

describe('The unpacked libraries are not sound and are replaced', () => {
  const cases: [string, (unpacked: string) => Promise<unknown>][] = [
    ['when a file is missing', (unpacked) => rm(join(unpacked, 'libblock.so.1'))],
    ['when there is another file', (unpacked) => writeFile(join(unpacked, 'libother.so'), '')],
    ['when a file has another size', (unpacked) => rewrite(join(unpacked, 'libblock.so.1'), 'short')],
    ['when a file is writable', (unpacked) => chmod(join(unpacked, 'libblock.so.1'), 0o700)],
    ['when a file is a symbolic link', (unpacked) => replaceByLink(join(unpacked, 'libblock.so.1'))],
    ['when other users may enter the directory', (unpacked) => chmod(unpacked, 0o755)],
  ];
  const rewrite = async (path: string, text: string): Promise<void> => {
    await chmod(path, 0o700);
    await writeFile(path, text);
    await chmod(path, 0o500);
  };
  const replaceByLink = async (path: string): Promise<void> => {
    await rm(path);
    await symlink(join(dir, 'files', 'libblock.so.1'), path);
  };

  test.each(cases)('%s', async (_, spoil) => {
    const unpacked = join(base, manifest.archive_sha256);
    await unpack();
    await spoil(unpacked);
    expect(isSound(unpacked, manifest)).toBe(false);
    await unpack();
    expect(isSound(unpacked, manifest)).toBe(true);
    expect(await readdir(base)).toEqual([manifest.archive_sha256]);
  });
});

describe('An archive', () => {
  const read = (bytes: Uint8Array, chunk = bytes.length): void => {
    const work = join(dir, `work-${crypto.randomUUID()}`);
    mkdirSync(work);
    const reader = createTarReader({ dir: work, manifest });
    for (let at = 0; at < bytes.length; at += chunk) reader.push(bytes.subarray(at, at + chunk));
    reader.close();
  };
  const entries = (names: readonly string[]): Uint8Array[] =>
    names.map((name) => tarEntry(name, FILES[name] ?? new Uint8Array()));
  const whole = (): Buffer => Buffer.concat([...entries(Object.keys(FILES)), TAR_END]);

  test.each([1, 7, 511, 512, 513, 4_096])('is read in pieces of %d bytes', (chunk) => {
    expect(() => read(whole(), chunk)).not.toThrow();
  });

  /** The archive with `text` at `offset` of its first header, and a matching checksum. */
  const forged = (offset: number, text: string): Buffer => {
    const bytes = whole();
    bytes.write(text, offset, 'latin1');
    bytes.fill(' ', 148, 156);
    const sum = bytes.subarray(0, 512).reduce((total, byte) => total + byte, 0);
    bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    return bytes;
  };

  test.each([
    ['a name outside the manifest', () => forged(0, 'libx\0'), 'not in its manifest'],
    ['a path', () => forged(0, '../libempty.so\0'), 'not in its manifest'],
    ['a name with a prefix', () => forged(345, 'sub\0'), 'bad header'],
    ['a symbolic link', () => forged(156, '2'), 'bad header'],
    ['another size', () => forged(124, '00000000001\0'), 'not in its manifest'],
    ['a size that is not a number', () => forged(124, 'zzz\0'), 'not in its manifest'],
    ['a wrong checksum', () => whole().fill('x', 20, 24), 'bad header'],
    [
      'the same file twice',
      () => Buffer.concat([...entries(['libempty.so', 'libempty.so']), TAR_END]),
      'not in its manifest',
    ],
    ['a missing file', () => Buffer.concat([...entries(['libempty.so']), TAR_END]), 'lacks a file'],
    ['no end mark', () => whole().subarray(0, -1_024), 'cut short'],
    ['half of a file', () => whole().subarray(0, 3_000), 'cut short'],
  ])('is refused with %s', (_, make, sentence) => {
    expect(() => read(make())).toThrow(sentence);
  });
});

describe('Opening the runtime', () => {
  /** A program that unpacks as the executable does in the role `unpack`. */
  const selfCommand = async (): Promise<string[]> => {
    const path = join(dir, 'self.ts');
    const source = (name: string): string => JSON.stringify(join(import.meta.dir, '../../src', name));
    await writeFile(
      path,
      `import { unpackRuntime } from ${source('program/embedded/unpacker.ts')};
import { createSystemClock } from ${source('base/clock.ts')};
const { BUN_OPTIONS, EDGE_ROLE, EDGE_UNPACK_BASE: base } = process.env;
if (BUN_OPTIONS !== undefined || EDGE_ROLE !== 'unpack') throw new Error('not a clean child');
const manifest = await Bun.file(${JSON.stringify(join(dir, 'engine.json'))}).json();
const archive = Bun.file(${JSON.stringify(archivePath)});
const write = (text) => process.stdout.write(text);
await unpackRuntime({ archive, manifest, base, clock: createSystemClock(), write });
`,
    );
    return [process.execPath, path];
  };
  const open = (
    bases: readonly string[],
    self: readonly string[],
  ): Promise<{ dir: string; unpacked: boolean }> =>
    openRuntime({
      manifest,
      bases,
      self,
      env: { PATH: '/usr/bin:/bin', BUN_OPTIONS: '--smol' },
      clock: createManualClock(),
      terminal: { isInteractive: false, write: () => {} },
    });

  test('unpacks once in a child, and uses the same directory without one afterwards', async () => {
    const first = await open([base], await selfCommand());
    expect(first).toEqual({ dir: join(base, manifest.archive_sha256), unpacked: true });
    expect(await open([base], ['/nonexistent'])).toEqual({ ...first, unpacked: false });
  });

  test('uses the next directory when the first one cannot be written', async () => {
    const file = join(dir, 'file');
    await writeFile(file, '');
    const opened = await open([join(file, 'edge'), join(dir, 'second')], await selfCommand());
    expect(opened.dir).toBe(join(dir, 'second', manifest.archive_sha256));
  });

  test('makes a directory of this user private', async () => {
    await chmod(base, 0o755);
    await open([base], await selfCommand());
    expect((await stat(base)).mode & 0o777).toBe(0o700);
  });

  test('fails with the reason for every directory when none can be used', async () => {
    await writeFile(archivePath, 'no archive');
    await expect(open([base], await selfCommand())).rejects.toThrow(`could not be unpacked. ${base}: `);
  });
});

describe('The environment of a child', () => {
  test('holds no variable that makes the executable act as bun', () => {
    const env = { BUN_BE_BUN: '1', BUN_OPTIONS: '--smol', NODE_OPTIONS: 'x', HOME: '/h', GONE: undefined };
    expect(childEnvironment(env, { EDGE_ROLE: 'unpack' })).toEqual({ HOME: '/h', EDGE_ROLE: 'unpack' });
  });
});

test.each([
  [{ XDG_CACHE_HOME: '/c', HOME: '/h' }, ['/c/edge', '/h/.cache/edge', '/d/runtime']],
  [{ HOME: '/h' }, ['/h/.cache/edge', '/d/runtime']],
  [{ XDG_CACHE_HOME: 'relative' }, ['/d/runtime']],
  [{}, ['/d/runtime']],
])('The environment %o gives the directories %o', (env, bases) => {
  expect(runtimeBases(env, '/d')).toEqual(bases);
});

test('The same files in any order make the same archive', async () => {
  const names = Object.keys(FILES);
  const digest = async (of: readonly string[]): Promise<string> =>
    createHash('sha256')
      .update(await packFiles(join(dir, 'files'), of))
      .digest('hex');
  expect(await digest(names)).toBe(await digest(names.toReversed()));
});
