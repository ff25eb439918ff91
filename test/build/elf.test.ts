// The ELF reader and its rewrites, on a small library that this file builds byte by byte.
import { describe, expect, test } from 'bun:test';
import { dropSearchPaths, elfHash, glibcAbove, readElf, rewriteVersions } from '../../native/build/elf.ts';

type Import = { name: string; version: string };

const BASE = 'GLIBC_2.2.5';

const PATH_TAGS = { rpath: 15n, runpath: 29n };
const SEARCH_PATH = '$ORIGIN/../lib';

/** A shared library libsample.so.1 that imports symbols from libc.so.6; `path` gives it a search path. */
function sampleLibrary(imports: readonly Import[], path?: keyof typeof PATH_TAGS): Uint8Array {
  const versions = [...new Set([BASE, ...imports.map((entry) => entry.version)])];
  const names = ['libsample.so.1', 'libc.so.6', SEARCH_PATH];
  const strings = ['', ...names, ...versions, ...imports.map((entry) => entry.name)];
  const at = (text: string): number =>
    strings.slice(0, strings.indexOf(text)).join('\0').length + (text === '' ? 0 : 1);
  const dynstr = Buffer.from(`${strings.join('\0')}\0`);
  const dynsym = Buffer.alloc(24 * (imports.length + 1));
  const versym = Buffer.alloc(2 * (imports.length + 1));
  imports.forEach((entry, i) => {
    dynsym.writeUInt32LE(at(entry.name), 24 * (i + 1));
    versym.writeUInt16LE(2 + versions.indexOf(entry.version), 2 * (i + 1));
  });
  const verneed = Buffer.alloc(16 * (versions.length + 1));
  verneed.writeUInt16LE(1, 0);
  verneed.writeUInt16LE(versions.length, 2);
  verneed.writeUInt32LE(at('libc.so.6'), 4);
  verneed.writeUInt32LE(16, 8);
  versions.forEach((version, i) => {
    const from = 16 * (i + 1);
    verneed.writeUInt32LE(elfHash(version), from);
    verneed.writeUInt16LE(2 + i, from + 6);
    verneed.writeUInt32LE(at(version), from + 8);
    verneed.writeUInt32LE(i + 1 < versions.length ? 16 : 0, from + 12);
  });
  const entries = [
    [14n, BigInt(at('libsample.so.1'))],
    ...(path === undefined ? [] : [[PATH_TAGS[path], BigInt(at(SEARCH_PATH))]]),
    [1n, BigInt(at('libc.so.6'))],
    [0n, 0n],
  ];
  const dynamic = Buffer.alloc(16 * entries.length);
  entries.flat().forEach((word, i) => dynamic.writeBigUInt64LE(word, i * 8));
  return layOut([
    { type: 3, link: 0, bytes: dynstr },
    { type: 11, link: 1, bytes: dynsym },
    { type: 0x6fffffff, link: 2, bytes: versym },
    { type: 0x6ffffffe, link: 1, bytes: verneed, entries: 1 },
    { type: 6, link: 1, bytes: dynamic },
  ]);
}

function layOut(
  sections: readonly { type: number; link: number; bytes: Buffer; entries?: number }[],
): Uint8Array {
  const header = Buffer.alloc(64);
  header.writeUInt32BE(0x7f454c46, 0);
  header.set([2, 1, 1], 4);
  header.writeUInt16LE(3, 16);
  header.writeUInt16LE(62, 18);
  header.writeBigUInt64LE(64n, 40);
  header.writeUInt16LE(64, 58);
  header.writeUInt16LE(sections.length + 1, 60);
  const table = Buffer.alloc(64 * (sections.length + 1));
  let offset = header.length + table.length;
  sections.forEach(({ type, link, bytes, entries = 0 }, i) => {
    const from = 64 * (i + 1);
    table.writeUInt32LE(type, from + 4);
    table.writeBigUInt64LE(BigInt(offset), from + 24);
    table.writeBigUInt64LE(BigInt(bytes.length), from + 32);
    table.writeUInt32LE(link, from + 40);
    table.writeUInt32LE(entries, from + 44);
    offset += bytes.length;
  });
  return Buffer.concat([header, table, ...sections.map((section) => section.bytes)]);
}

describe('A shared library', () => {
  test('tells its soname, what it needs and the versions of that', () => {
    const facts = readElf(sampleLibrary([{ name: 'malloc', version: BASE }]));
    expect(facts).toEqual({
      soname: 'libsample.so.1',
      needed: ['libc.so.6'],
      searchPaths: [],
      versions: [{ file: 'libc.so.6', version: BASE }],
    });
  });

  test('of this machine is read as the dynamic loader reads it', async () => {
    const paths = ['/lib/x86_64-linux-gnu/libc.so.6', '/lib/aarch64-linux-gnu/libc.so.6'];
    const found = (await Promise.all(paths.map((path) => Bun.file(path).exists()))).indexOf(true);
    const facts = readElf(await Bun.file(paths[found] ?? '').bytes());
    expect(facts.soname).toBe('libc.so.6');
    expect(facts.needed.some((name) => name.startsWith('ld-linux'))).toBe(true);
  });

  test.each([
    ['no bytes', new Uint8Array()],
    ['another format', Buffer.alloc(200, 'a')],
    ['a 32-bit file', sampleLibrary([]).map((byte, i) => (i === 4 ? 1 : byte))],
  ])('is refused with a sentence: %s', (_, bytes) => {
    expect(() => readElf(bytes)).toThrow('not a little-endian ELF64 file');
  });

  test('that is cut anywhere throws and never reads outside', () => {
    const whole = sampleLibrary([{ name: 'malloc', version: BASE }]);
    for (let length = 0; length < whole.length; length += 1) {
      expect(() => readElf(whole.slice(0, length))).toThrow(/ELF/);
    }
  });
});

describe('The rewrite for glibc 2.36', () => {
  const newer = sampleLibrary([
    { name: 'malloc', version: BASE },
    { name: '__isoc23_strtol', version: 'GLIBC_2.38' },
    { name: 'fmod', version: 'GLIBC_2.38' },
    { name: 'arc4random', version: 'GLIBC_2.36' },
  ]);

  test('leaves no need above it, and says what moved', () => {
    expect(glibcAbove(readElf(newer))).toEqual(['GLIBC_2.38']);
    const { bytes, changed } = rewriteVersions(newer);
    expect(changed).toEqual(['__isoc23_strtol@GLIBC_2.38', 'fmod@GLIBC_2.38']);
    expect(readElf(bytes).versions.map((need) => need.version)).toEqual([BASE, BASE, 'GLIBC_2.36']);
  });

  test('changes the name of one symbol and the name and hash of one need, not one byte more', () => {
    const before = Buffer.from(newer);
    const after = Buffer.from(rewriteVersions(newer).bytes);
    const words = Array.from({ length: before.length - 3 }, (_, at) => at);
    const symbols = before.readUInt32LE(64 + 2 * 64 + 24);
    const nameOf = (library: Buffer, index: number): number => library.readUInt32LE(symbols + 24 * index);
    expect([1, 2, 3, 4].map((index) => nameOf(after, index) - nameOf(before, index))).toEqual([0, 9, 0, 0]);
    const hashes = (library: Buffer, version: string): number =>
      words.filter((at) => library.readUInt32LE(at) === elfHash(version)).length;
    expect([hashes(before, 'GLIBC_2.38'), hashes(before, BASE)]).toEqual([1, 1]);
    expect([hashes(after, 'GLIBC_2.38'), hashes(after, BASE)]).toEqual([0, 2]);
    const differing = before.filter((byte, at) => byte !== after[at]).length;
    expect(differing).toBeLessThanOrEqual(1 + 4 + 4);
  });

  test('of its own result changes nothing', () => {
    const { bytes } = rewriteVersions(newer);
    expect(rewriteVersions(bytes)).toEqual({ bytes, changed: [] });
  });

  test('keeps a library as it is that needs nothing newer', () => {
    const older = sampleLibrary([{ name: 'arc4random', version: 'GLIBC_2.36' }]);
    expect(rewriteVersions(older)).toEqual({ bytes: older, changed: [] });
  });

  test('refuses a symbol that the older glibc has not', () => {
    const library = sampleLibrary([{ name: 'strlcpy', version: 'GLIBC_2.38' }]);
    expect(() => rewriteVersions(library)).toThrow('strlcpy needs GLIBC_2.38');
  });

  test('does not take a version of another library for one of glibc', () => {
    const library = sampleLibrary([{ name: '_ZSt', version: 'GLIBCXX_3.4.99' }]);
    expect(rewriteVersions(library).changed).toEqual([]);
  });
});

describe.each(['rpath', 'runpath'] as const)('A library that has a %s', (path) => {
  const library = sampleLibrary([{ name: 'malloc', version: BASE }], path);

  test('needs the same without it, and has no search path', () => {
    const before = readElf(library);
    expect(before.searchPaths).toEqual([SEARCH_PATH]);
    expect(readElf(dropSearchPaths(library))).toEqual({ ...before, searchPaths: [] });
  });

  test('changes only in its dynamic section, which ends earlier', () => {
    const after = Buffer.from(dropSearchPaths(library));
    const start = library.length - 16 * 4;
    expect(after.subarray(0, start)).toEqual(Buffer.from(library.subarray(0, start)));
    const words = Array.from({ length: 8 }, (_, i) => after.readBigUInt64LE(start + 8 * i));
    expect(words.filter((_, i) => i % 2 === 0)).toEqual([14n, 1n, 0n, 0n]);
    expect(words.slice(4)).toEqual([0n, 0n, 0n, 0n]);
  });
});

test('A library without a search path keeps every byte', () => {
  const library = sampleLibrary([{ name: 'malloc', version: BASE }]);
  expect(dropSearchPaths(library)).toBe(library);
});

test('The hash of a version name is that of the System V ABI', () => {
  expect(elfHash('GLIBC_2.2.5')).toBe(0x09691a75);
  expect(elfHash('GLIBC_2.17')).toBe(0x06969197);
});
