// Reads what a shared library needs, and rewrites it so that it loads with glibc 2.36 from any directory.

/** What the dynamic loader reads: the library's name, what it needs in which versions, and search paths. */
export type ElfFacts = {
  soname: string | undefined;
  needed: string[];
  /** DT_RPATH and DT_RUNPATH: directories in which the loader searches for what the library needs. */
  searchPaths: string[];
  versions: { file: string; version: string }[];
};

/** The oldest glibc that the product runs with (Debian 12). */
export const GLIBC_MAX = '2.36';

const SHT = { dynamic: 6, dynsym: 11, verneed: 0x6ffffffe, versym: 0x6fffffff } as const;
const DT = { null: 0n, needed: 1n, soname: 14n, rpath: 15n, runpath: 29n } as const;
const MACHINES: Record<number, string> = { 62: 'GLIBC_2.2.5', 183: 'GLIBC_2.17' };
const DYNAMIC_BYTES = 16;
const SECTIONS_MAX = 1_000;
const ENTRIES_MAX = 100_000;
const NAME_BYTES_MAX = 4_096;
const RENAMED_PREFIX = '__isoc23_';
/** Symbols whose older version differs only in when it sets errno. */
const SAME_IN_OLDER = new Set(['fmod', 'fmodf']);

type Section = { type: number; offset: number; size: number; link: number; entries: number };
type Need = { file: string; version: string; index: number; at: number };
/** An entry of the dynamic section before its end mark; `name` is empty where the value is no name. */
type DynamicEntry = { tag: bigint; name: string; at: number };
type DynamicSymbol = { name: string; at: number; version: number; isUndefined: boolean };

/** Throws, with a sentence, when the bytes are not a little-endian ELF64 shared library. */
export function readElf(bytes: Uint8Array): ElfFacts {
  const reader = createReader(bytes);
  const namesOf = (...tags: readonly bigint[]): string[] =>
    reader
      .dynamic()
      .filter((entry) => tags.includes(entry.tag))
      .map((entry) => entry.name);
  return {
    soname: namesOf(DT.soname)[0],
    needed: namesOf(DT.needed),
    searchPaths: namesOf(DT.rpath, DT.runpath),
    versions: reader.needs().map(({ file, version }) => ({ file, version })),
  };
}

/** The needed glibc versions above `GLIBC_MAX`, each once. */
export function glibcAbove(facts: ElfFacts): string[] {
  return [...new Set(facts.versions.map((need) => need.version).filter(isAbove))];
}

/**
 * A copy in which no version need is above glibc 2.36: a newer need becomes the oldest version that glibc has
 * for the machine, and an undefined symbol `__isoc23_NAME` becomes `NAME`, which differs only in that it does
 * not read `0b` numbers. `changed` lists the rewritten symbols as `symbol@version`. Needs at or below 2.36
 * keep every byte. Throws at any other symbol that asks for a newer version.
 */
export function rewriteVersions(bytes: Uint8Array): { bytes: Uint8Array; changed: string[] } {
  const reader = createReader(bytes);
  const above = new Map(
    reader
      .needs()
      .map((need) => [need.index, need] as const)
      .filter(([, need]) => isAbove(need.version)),
  );
  if (above.size === 0) return { bytes, changed: [] };
  const copy = new Uint8Array(bytes);
  const view = new DataView(copy.buffer);
  const base = reader.baseVersion();
  const baseAt = reader.findName(base);
  const changed: string[] = [];
  for (const symbol of reader.symbols()) {
    const need = above.get(symbol.version);
    if (need === undefined || !symbol.isUndefined) continue;
    if (symbol.name.startsWith(RENAMED_PREFIX)) {
      view.setUint32(symbol.at, view.getUint32(symbol.at, true) + RENAMED_PREFIX.length, true);
    } else if (!SAME_IN_OLDER.has(symbol.name)) {
      throw new Error(
        `${symbol.name} needs ${need.version}, which glibc ${GLIBC_MAX} has not, and has no known older form`,
      );
    }
    changed.push(`${symbol.name}@${need.version}`);
  }
  for (const need of above.values()) {
    view.setUint32(need.at, elfHash(base), true);
    view.setUint32(need.at + 8, baseAt, true);
  }
  return { bytes: copy, changed };
}

/**
 * A copy without DT_RPATH and DT_RUNPATH; the same bytes when the library has neither. The DT_RPATH of
 * whatever loads a library applies to its needs only while it has no DT_RUNPATH of its own (ld.so(8)).
 */
export function dropSearchPaths(bytes: Uint8Array): Uint8Array {
  const entries = createReader(bytes).dynamic();
  const kept = entries.filter((entry) => entry.tag !== DT.rpath && entry.tag !== DT.runpath);
  const start = entries[0]?.at;
  if (start === undefined || kept.length === entries.length) return bytes;
  const copy = Uint8Array.from(bytes);
  kept.forEach(({ at }, i) => copy.set(bytes.subarray(at, at + DYNAMIC_BYTES), start + i * DYNAMIC_BYTES));
  copy.fill(0, start + kept.length * DYNAMIC_BYTES, start + entries.length * DYNAMIC_BYTES);
  return copy;
}

/** The System V hash of a symbol version name (gABI, "Hash Table"). */
export function elfHash(name: string): number {
  let hash = 0;
  for (const byte of Buffer.from(name)) {
    hash = ((hash << 4) + byte) >>> 0;
    const high = hash & 0xf0000000;
    hash = ((hash ^ (high >>> 24)) & ~high) >>> 0;
  }
  return hash;
}

function isAbove(version: string): boolean {
  const parts = /^GLIBC_(\d+)\.(\d+)(?:\.\d+)?$/.exec(version);
  if (parts === null) return false;
  const [major, minor] = GLIBC_MAX.split('.').map(Number);
  return Number(parts[1]) * 1_000 + Number(parts[2]) > Number(major) * 1_000 + Number(minor);
}

type Reader = {
  /** The string at `index` of the string table that `of` links to. */
  name(of: Section, index: number): string;
  dynamic(): DynamicEntry[];
  /** The offset of the string `name` in the dynamic string table. */
  findName(name: string): number;
  needs(): Need[];
  symbols(): DynamicSymbol[];
  baseVersion(): string;
};

function createReader(bytes: Uint8Array): Reader {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (data.length < 64 || data.readUInt32BE(0) !== 0x7f454c46 || data[4] !== 2 || data[5] !== 1) {
    throw new Error('this is not a little-endian ELF64 file');
  }
  const guard = (at: number, length: number): number => {
    if (!Number.isSafeInteger(at) || at < 0 || at + length > data.length)
      throw new Error('the ELF file is cut short');
    return at;
  };
  const u16 = (at: number): number => data.readUInt16LE(guard(at, 2));
  const u32 = (at: number): number => data.readUInt32LE(guard(at, 4));
  const u64 = (at: number): bigint => data.readBigUInt64LE(guard(at, 8));
  const sections = readSections({ u16, u32, u64, guard });
  const section = (type: number): Section | undefined => sections.find((entry) => entry.type === type);
  const stringsOf = (of: Section): Section => {
    const strings = sections[of.link];
    if (strings === undefined) throw new Error('the ELF file links to a section that it does not have');
    return strings;
  };
  const name = (of: Section, index: number): string => {
    const strings = stringsOf(of);
    const start = guard(strings.offset + index, 1);
    const end = data.indexOf(0, start);
    if (
      index >= strings.size ||
      end < 0 ||
      end >= strings.offset + strings.size ||
      end - start > NAME_BYTES_MAX
    ) {
      throw new Error('the ELF file has a name outside its string table');
    }
    return data.toString('latin1', start, end);
  };
  return {
    name,
    dynamic: () => readDynamic(section(SHT.dynamic), { u64, name }),
    findName(wanted) {
      const symbols = section(SHT.dynsym);
      if (symbols === undefined) throw new Error('the ELF file has no dynamic symbols');
      const { offset, size } = stringsOf(symbols);
      const at = data.indexOf(`${wanted}\0`, offset, 'latin1');
      if (at < 0 || at + wanted.length >= offset + size)
        throw new Error(`the ELF file does not name ${wanted}`);
      return at - offset;
    },
    needs: () => readNeeds(section(SHT.verneed), { u16, u32, name }),
    symbols() {
      const symbols = section(SHT.dynsym);
      const versions = section(SHT.versym);
      if (symbols === undefined || versions === undefined) return [];
      return Array.from({ length: Math.floor(Math.min(symbols.size / 24, versions.size / 2)) }, (_, i) => {
        const at = symbols.offset + i * 24;
        const version = u16(versions.offset + i * 2) & 0x7fff;
        return { name: name(symbols, u32(at)), at, version, isUndefined: u16(at + 6) === 0 };
      });
    },
    baseVersion() {
      const version = MACHINES[u16(18)];
      if (version === undefined) throw new Error('the ELF file is neither for x86-64 nor for arm64');
      return version;
    },
  };
}

type Words = {
  u16(at: number): number;
  u32(at: number): number;
  u64(at: number): bigint;
  guard(at: number, length: number): number;
};

function readSections({ u16, u32, u64, guard }: Words): Section[] {
  const at = Number(u64(40));
  const count = u16(60);
  if (u16(58) !== 64 || count === 0 || count > SECTIONS_MAX)
    throw new Error('the ELF file has no usable section table');
  return Array.from({ length: count }, (_, i) => {
    const from = at + i * 64;
    const type = u32(from + 4);
    const [offset, size] = [Number(u64(from + 24)), Number(u64(from + 32))];
    const hasBytes = type !== 0 && type !== 8;
    if (hasBytes) guard(offset, size);
    return { type, offset, size, link: u32(from + 40), entries: u32(from + 44) };
  });
}

function readDynamic(
  section: Section | undefined,
  { u64, name }: Pick<Words, 'u64'> & Pick<Reader, 'name'>,
): DynamicEntry[] {
  if (section === undefined) return [];
  const named: readonly bigint[] = [DT.needed, DT.soname, DT.rpath, DT.runpath];
  const entries: DynamicEntry[] = [];
  for (let i = 0; i < Math.min(Math.floor(section.size / DYNAMIC_BYTES), ENTRIES_MAX); i += 1) {
    const at = section.offset + i * DYNAMIC_BYTES;
    const tag = u64(at);
    if (tag === DT.null) break;
    entries.push({ tag, name: named.includes(tag) ? name(section, Number(u64(at + 8))) : '', at });
  }
  return entries;
}

function readNeeds(
  section: Section | undefined,
  { u16, u32, name }: Pick<Words, 'u16' | 'u32'> & Pick<Reader, 'name'>,
): Need[] {
  if (section === undefined) return [];
  const needs: Need[] = [];
  let file = section.offset;
  for (let i = 0; i < Math.min(section.entries, ENTRIES_MAX); i += 1) {
    const fileName = name(section, u32(file + 4));
    let at = file + u32(file + 8);
    for (let k = 0; k < u16(file + 2); k += 1) {
      needs.push({ file: fileName, version: name(section, u32(at + 8)), index: u16(at + 6) & 0x7fff, at });
      if (needs.length > ENTRIES_MAX) throw new Error('the ELF file has too many version needs');
      if (u32(at + 12) === 0) break;
      at += u32(at + 12);
    }
    if (u32(file + 12) === 0) break;
    file += u32(file + 12);
  }
  return needs;
}
