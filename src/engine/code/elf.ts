// Reads the shared object that a compile child wrote, whose every byte an attacker may have chosen.
import type { Sliced } from '../../base/concurrency.ts';
import { MODULE_BOUNDS } from '../../base/limits/module.ts';

/** Values of the ELF specification (gABI) that the check and the packing of compiled code need. */
export const ELF = {
  machine: { x64: 62, arm64: 183 },
  segment: { load: 1, dynamic: 2, phdr: 6, ehFrame: 0x6474e550, stack: 0x6474e551, relro: 0x6474e552 },
  segmentFlag: { execute: 1, write: 2 },
  section: {
    none: 0,
    progbits: 1,
    symtab: 2,
    strtab: 3,
    hash: 5,
    dynamic: 6,
    nobits: 8,
    dynsym: 11,
    gnuHash: 0x6ffffff6,
  },
  sectionFlag: { write: 1, alloc: 2, execute: 4, tls: 0x400 },
  dynamic: { none: 0, hash: 4, strtab: 5, symtab: 6, strsz: 10, syment: 11, gnuHash: 0x6ffffef5 },
  symbol: { none: 0, object: 1, func: 2, section: 3, file: 4 },
  sectionIndex: { undefined: 0, reserved: 0xff00, absolute: 0xfff1 },
} as const;

export type ElfSegment = {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly address: number;
  readonly fileBytes: number;
  readonly memoryBytes: number;
};

/** `bytes` are a view of the file, empty for a section that takes no room in it. */
export type ElfSection = {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly address: number;
  readonly size: number;
  readonly bytes: Uint8Array;
};

export type ElfSymbol = {
  readonly name: string;
  readonly type: number;
  /** The index of its section, or a reserved value. */
  readonly section: number;
  readonly address: number;
  readonly size: number;
  /** From the table that a dynamic loader reads. */
  readonly isDynamic: boolean;
};

/** Every symbol but the empty one at the start of each table. */
export type ElfFile = {
  readonly machine: number;
  readonly segments: readonly ElfSegment[];
  readonly sections: readonly ElfSection[];
  readonly dynamicTags: readonly number[];
  readonly symbols: readonly ElfSymbol[];
};

export type ElfResult = { ok: true; file: ElfFile } | { ok: false; fault: string };

const HEAD_BYTES = 64;
const SEGMENT_BYTES = 56;
const SECTION_BYTES = 64;
const SYMBOL_BYTES = 24;
const DYNAMIC_BYTES = 16;
const SHARED_OBJECT = 3;
const SEGMENTS_MAX = 64;
const SECTIONS_MAX = 256;
const DYNAMIC_MAX = 256;
/** Of all tables together: two tables have a symbol for each function and each type of the module. */
const SYMBOLS_MAX = 4 * (MODULE_BOUNDS.functionsMax + MODULE_BOUNDS.typesMax);
/** Symbols that are read between two pauses. */
const PAUSE_SYMBOLS = 1_024;
const NAME_BYTES_MAX = 256;
/** The first four bytes, 64 bits, little endian, version 1. */
const IDENTITY: readonly number[] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1];
/** A safe integer has at most 21 bits above its low word. */
const HIGH_WORD_MAX = 0x1f_ffff;
const WORD = 0x1_0000_0000;

class ElfRefusal extends Error {}

/** Reads a little-endian ELF64 shared object. Never throws; every number in the result is a safe integer. */
export function* readElf(bytes: Uint8Array): Sliced<ElfResult> {
  try {
    return { ok: true, file: yield* new ElfReader(bytes).read() };
  } catch (failure) {
    if (failure instanceof ElfRefusal) return { ok: false, fault: failure.message };
    throw failure;
  }
}

/** Whether `size` bytes at `start` lie within `length` bytes. */
export const isWithin = (start: number, size: number, length: number): boolean =>
  size <= length && start <= length - size;

type RawSection = ElfSection & { readonly link: number; readonly entryBytes: number };

class ElfReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  *read(): Sliced<ElfFile> {
    const bytes = this.#bytes;
    if (bytes.length < HEAD_BYTES || IDENTITY.some((byte, at) => bytes[at] !== byte))
      throw new ElfRefusal('it is not a little-endian ELF64 file');
    if (this.#u16(16) !== SHARED_OBJECT) throw new ElfRefusal('it is not a shared object');
    const segments = this.#segments();
    const sections = this.#sections();
    const symbols: ElfSymbol[] = [];
    for (const section of sections) yield* this.#symbols(section, sections, symbols);
    return { machine: this.#u16(18), segments, sections, dynamicTags: this.#dynamicTags(segments), symbols };
  }

  #range(offset: number, size: number, what: string): Uint8Array {
    if (!isWithin(offset, size, this.#bytes.length)) throw new ElfRefusal(`${what} lies outside of the file`);
    return this.#bytes.subarray(offset, offset + size);
  }

  #u16(at: number): number {
    this.#range(at, 2, 'a field');
    return this.#view.getUint16(at, true);
  }

  #u32(at: number): number {
    this.#range(at, 4, 'a field');
    return this.#view.getUint32(at, true);
  }

  #u64(at: number): number {
    const high = this.#u32(at + 4);
    if (high > HIGH_WORD_MAX) throw new ElfRefusal('a field is larger than any file');
    return high * WORD + this.#u32(at);
  }

  /** The offsets of the entries of a table of the header. */
  #table(
    fields: { at: number; size: number; count: number },
    entryBytes: number,
    countMax: number,
  ): number[] {
    const start = this.#u64(fields.at);
    const count = this.#u16(fields.count);
    if (this.#u16(fields.size) !== entryBytes || count === 0 || count > countMax)
      throw new ElfRefusal('a table of its header has an unknown form');
    this.#range(start, count * entryBytes, 'a table of its header');
    return Array.from({ length: count }, (_, index) => start + index * entryBytes);
  }

  #segments(): ElfSegment[] {
    return this.#table({ at: 32, size: 54, count: 56 }, SEGMENT_BYTES, SEGMENTS_MAX).map((at) => {
      const segment = {
        type: this.#u32(at),
        flags: this.#u32(at + 4),
        offset: this.#u64(at + 8),
        address: this.#u64(at + 16),
        fileBytes: this.#u64(at + 32),
        memoryBytes: this.#u64(at + 40),
      };
      this.#range(segment.offset, segment.fileBytes, 'a segment');
      return segment;
    });
  }

  #sections(): RawSection[] {
    const table = this.#table({ at: 40, size: 58, count: 60 }, SECTION_BYTES, SECTIONS_MAX);
    const names = table[this.#u16(62)];
    if (names === undefined) throw new ElfRefusal('its sections have no names');
    const strings = this.#range(this.#u64(names + 24), this.#u64(names + 32), 'a section');
    return table.map((at) => {
      const type = this.#u32(at + 4);
      const [offset, size] = [this.#u64(at + 24), this.#u64(at + 32)];
      const isEmpty = type === ELF.section.none || type === ELF.section.nobits;
      return {
        name: nameAt(strings, this.#u32(at)),
        type,
        flags: this.#u64(at + 8),
        address: this.#u64(at + 16),
        size,
        bytes: isEmpty ? this.#bytes.subarray(0, 0) : this.#range(offset, size, 'a section'),
        link: this.#u32(at + 40),
        entryBytes: this.#u64(at + 56),
      };
    });
  }

  /** Adds the symbols of `section` to `symbols`. */
  *#symbols(section: RawSection, sections: readonly RawSection[], symbols: ElfSymbol[]): Sliced<void> {
    const isDynamic = section.type === ELF.section.dynsym;
    if (!isDynamic && section.type !== ELF.section.symtab) return;
    const strings = sections[section.link];
    const count = section.size / SYMBOL_BYTES;
    if (strings?.type !== ELF.section.strtab || section.entryBytes !== SYMBOL_BYTES)
      throw new ElfRefusal('a symbol table has an unknown form');
    if (!Number.isInteger(count) || symbols.length + count > SYMBOLS_MAX)
      throw new ElfRefusal('a symbol table has an unknown size');
    const start = section.bytes.byteOffset - this.#bytes.byteOffset;
    for (let index = 1; index < count; index += 1) {
      if (index % PAUSE_SYMBOLS === 0) yield;
      const at = start + index * SYMBOL_BYTES;
      symbols.push({
        name: nameAt(strings.bytes, this.#u32(at)),
        type: (this.#bytes[at + 4] ?? 0) & 0x0f,
        section: this.#u16(at + 6),
        address: this.#u64(at + 8),
        size: this.#u64(at + 16),
        isDynamic,
      });
    }
  }

  #dynamicTags(segments: readonly ElfSegment[]): number[] {
    const tags: number[] = [];
    for (const { type, offset, fileBytes } of segments) {
      if (type !== ELF.segment.dynamic) continue;
      const count = Math.floor(fileBytes / DYNAMIC_BYTES);
      if (count > DYNAMIC_MAX) throw new ElfRefusal('its dynamic table is too long');
      for (let index = 0; index < count; index += 1) tags.push(this.#u64(offset + index * DYNAMIC_BYTES));
    }
    return tags;
  }
}

function nameAt(strings: Uint8Array, start: number): string {
  const view = strings.subarray(start, start + NAME_BYTES_MAX);
  const length = view.indexOf(0);
  if (length < 0) throw new ElfRefusal('a name is too long or lies outside of its table');
  return Buffer.from(view.buffer, view.byteOffset, length).toString('latin1');
}
