// Whether compiled code is complete: it runs as it is, once its sections stand in memory.
import type { Sliced } from '../../base/concurrency.ts';
import { ELF, type ElfFile, type ElfSection, isWithin } from './elf.ts';

/** The sections of a complete file together; the loader reserves as much memory. */
const IMAGE_BYTES_MAX = 2 ** 30;
const PAGE_BYTES = 4_096;
/** Symbols that are checked between two pauses. */
const PAUSE_SYMBOLS = 4_096;

const SEGMENT_TYPES: ReadonlySet<number> = new Set(Object.values(ELF.segment));
const SECTION_TYPES: ReadonlySet<number> = new Set(Object.values(ELF.section));
const DYNAMIC_TAGS: ReadonlySet<number> = new Set(Object.values(ELF.dynamic));
const SYMBOL_TYPES: ReadonlySet<number> = new Set(Object.values(ELF.symbol));

/** By tag of the dynamic table, from the gABI; what is not listed is refused by its number. */
const DYNAMIC_NAMES: ReadonlyMap<number, string> = new Map([
  [1, 'a library that it needs'],
  [2, 'a procedure linkage table'],
  [3, 'a procedure linkage table'],
  [7, 'relocations'],
  [12, 'a constructor'],
  [13, 'a destructor'],
  [17, 'relocations'],
  [22, 'relocations of its text'],
  [23, 'a procedure linkage table'],
  [25, 'constructors'],
  [26, 'destructors'],
  [32, 'constructors'],
  [36, 'relocations'],
]);

/**
 * The first reason not to load the file, or null. The loader of libwasmedge copies sections into memory and
 * applies no relocation, not even a relative one. A call of a library function, which stays an undefined
 * symbol and a relocation, would jump to wherever the unfilled entry points; so would every other shape that
 * needs a dynamic loader. Only what the compiler is known to emit is accepted.
 */
export function* incompleteness(file: ElfFile, machine: number): Sliced<string | null> {
  if (file.machine !== machine) return 'it is for another processor';
  const fault = yield* symbolFault(file);
  return fault ?? dynamicFault(file) ?? sectionFault(file) ?? segmentFault(file) ?? layoutFault(file);
}

function* symbolFault({ symbols, sections }: ElfFile): Sliced<string | null> {
  for (const [index, { name, type, section, address, size }] of symbols.entries()) {
    if (index % PAUSE_SYMBOLS === 0) yield;
    if (section === ELF.sectionIndex.undefined) return `the symbol ${printable(name)} is undefined`;
    if (!SYMBOL_TYPES.has(type)) return `the symbol ${printable(name)} has the type ${type}`;
    if (section >= ELF.sectionIndex.reserved) {
      if (section !== ELF.sectionIndex.absolute || type !== ELF.symbol.file)
        return `the symbol ${printable(name)} is in no section`;
      continue;
    }
    const home = sections[section];
    if (home === undefined || !isWithin(address - home.address, size, home.size) || address < home.address)
      return `the symbol ${printable(name)} lies outside of its section`;
  }
  return null;
}

function dynamicFault({ dynamicTags }: ElfFile): string | null {
  const tag = dynamicTags.find((one) => !DYNAMIC_TAGS.has(one));
  if (tag === undefined) return null;
  return `its dynamic table has ${DYNAMIC_NAMES.get(tag) ?? `the tag ${tag}`}`;
}

function sectionFault({ sections }: ElfFile): string | null {
  const { alloc, execute, tls, write } = ELF.sectionFlag;
  for (const { name, type, flags } of sections) {
    const has = (flag: number): boolean => Math.floor(flags / flag) % 2 === 1;
    if (!SECTION_TYPES.has(type)) return `the section ${printable(name)} has the type ${type}`;
    if (has(tls)) return `the section ${printable(name)} is for threads`;
    if (has(execute) && has(write)) return `the section ${printable(name)} is writable and executable`;
    if (has(execute) && !(has(alloc) && type === ELF.section.progbits))
      return `the section ${printable(name)} is executable and has no bytes`;
    // The stubs of a procedure linkage table end in entries that nobody fills.
    if (name.startsWith('.plt') || name.startsWith('.got')) return `it has a section ${printable(name)}`;
  }
  return null;
}

function segmentFault({ segments }: ElfFile): string | null {
  const { execute, write } = ELF.segmentFlag;
  for (const { type, flags, fileBytes, memoryBytes } of segments) {
    if (!SEGMENT_TYPES.has(type)) return `a segment has the type ${type}`;
    if ((flags & execute) !== 0 && (flags & write) !== 0) return 'a segment is writable and executable';
    if ((flags & execute) !== 0 && type !== ELF.segment.load)
      return 'a segment that is no code is executable';
    if (fileBytes > memoryBytes && type !== ELF.segment.stack) return 'a segment is larger than its memory';
  }
  return null;
}

/** Sections in memory must not overlap, and text must not share a page with anything else. */
function layoutFault({ sections }: ElfFile): string | null {
  const placed = sections.filter(isPlaced).sort((a, b) => a.address - b.address);
  let end = 0;
  let last: ElfSection | null = null;
  for (const section of placed) {
    const { address, name, size } = section;
    if (!isWithin(address, size, IMAGE_BYTES_MAX)) return `the section ${printable(name)} lies too far away`;
    const differs = last !== null && isText(last) !== isText(section);
    const start = differs ? Math.floor(address / PAGE_BYTES) * PAGE_BYTES : address;
    if (start < end) return `the section ${printable(name)} overlaps another`;
    end = address + size;
    last = section;
  }
  return null;
}

/** The loader gives it its place: it holds code or data, and no table for a dynamic loader. */
export const isLoaded = (section: ElfSection): boolean =>
  isPlaced(section) && (section.type === ELF.section.progbits || section.type === ELF.section.nobits);

/** It has a place in memory. */
const isPlaced = ({ flags, size }: ElfSection): boolean =>
  Math.floor(flags / ELF.sectionFlag.alloc) % 2 === 1 && size > 0;

export const isText = ({ flags }: ElfSection): boolean =>
  Math.floor(flags / ELF.sectionFlag.execute) % 2 === 1;

/** Names come from the file and go into a log. */
function printable(name: string): string {
  return name.replace(/[^\w.$@-]/g, '?');
}
