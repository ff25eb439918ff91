// Packs checked compiled code behind its module, in the form that libwasmedge's loader reads from memory.
import { joinParts, type Sliced } from '../../base/concurrency.ts';
import { countFunctions, type FunctionCounts } from '../../model/wasm/functions.ts';
import { leb } from '../../model/wasm/leb.ts';
import { incompleteness, isLoaded, isText } from './complete.ts';
import { ELF, type ElfFile, type ElfSection, type ElfSymbol, isWithin, readElf } from './elf.ts';

/** `fault` says why the code must not be loaded. */
export type PackResult = { ok: true; code: Uint8Array } | { ok: false; fault: string };

type Architecture = { machine: number; byte: number };

/** By `process.arch`: the ELF machine, and WasmEdge's number for it. */
const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  x64: { machine: ELF.machine.x64, byte: 1 },
  arm64: { machine: ELF.machine.arm64, byte: 2 },
};

/** The version of the section's form that 0.14 reads; the compiler writes it into its symbol `version`. */
const FORM = 1;
const LINUX = 1;
const CUSTOM_SECTION = 0;
const SECTION_NAME = 'wasmedge';
const KIND = { text: 1, data: 2, zeros: 3, unwinding: 4 } as const;
const POINTER_BYTES = 8;
/** Symbols that are read between two pauses. */
const PAUSE_SYMBOLS = 1_024;

/**
 * Checks the shared object that the compiler made of `module`, and returns the module with the code of that
 * object as its custom section `wasmedge`. Refuses code that is not complete. Throws for a malformed module only.
 */
export function* packCode(module: Uint8Array, object: Uint8Array, architecture: string): Sliced<PackResult> {
  const known = ARCHITECTURES[architecture];
  if (known === undefined) return { ok: false, fault: 'the processor of this machine is unknown' };
  const read = yield* readElf(object);
  if (!read.ok) return read;
  const fault = yield* incompleteness(read.file, known.machine);
  if (fault !== null) return { ok: false, fault };
  const entries = yield* entriesOf(read.file, countFunctions(module));
  if (typeof entries === 'string') return { ok: false, fault: entries };
  const { codes, intrinsics, types, version } = entries;
  const parts = [
    Uint8Array.from([
      ...nameOf(SECTION_NAME),
      ...leb(FORM),
      LINUX,
      known.byte,
      ...leb(version),
      ...leb(intrinsics),
    ]),
    addressList(types),
    addressList(codes),
    ...sectionParts(read.file, entries.module),
  ];
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  const head = Uint8Array.from([CUSTOM_SECTION, ...leb(size)]);
  return { ok: true, code: yield* joinParts([module, head, ...parts]) };
}

type Entries = { version: number; intrinsics: number; types: number[]; codes: number[]; module: ElfSymbol };

/** What the loader looks up by name: one pointer, and the code of each type and function; or a fault. */
function* entriesOf(file: ElfFile, counts: FunctionCounts): Sliced<Entries | string> {
  const symbols = new Map<string, ElfSymbol>();
  for (const [index, symbol] of file.symbols.entries()) {
    if (index % PAUSE_SYMBOLS === 0) yield;
    if (!symbol.isDynamic) continue;
    if (symbols.has(symbol.name)) return 'two of its symbols have the same name';
    symbols.set(symbol.name, symbol);
  }
  const [version, intrinsics, module] = ['version', 'intrinsics', 'wasm.code'].map((name) =>
    symbols.get(name),
  );
  if (version === undefined || intrinsics === undefined || module === undefined)
    return 'a symbol of the compiler is missing';
  if (formOf(file, version) !== FORM) return 'its form is of another release of WasmEdge';
  const pointer = file.sections[intrinsics.section];
  if (pointer === undefined || isText(pointer) || !isLoaded(pointer) || intrinsics.size !== POINTER_BYTES)
    return 'its pointer to the host functions has no place';
  const types = yield* numbered(file, symbols, { prefix: 't', first: 0 });
  const codes = yield* numbered(file, symbols, { prefix: 'f', first: counts.imported });
  if (types?.length !== counts.types || codes?.length !== counts.defined)
    return 'the code of a type or function is missing';
  return { version: version.address, intrinsics: intrinsics.address, types, codes, module };
}

function formOf({ sections }: ElfFile, { section, address, size }: ElfSymbol): number | null {
  const home = sections[section];
  if (home === undefined || size !== 4 || !isWithin(address - home.address, 4, home.bytes.length))
    return null;
  const at = address - home.address;
  return Buffer.from(home.bytes.subarray(at, at + 4)).readUInt32LE();
}

/**
 * The addresses of the symbols that `prefix` and a number from `first` on name, in order. The compiler leaves
 * the code of some imports before the first function; the loader takes none of it, and would interpret a
 * module that has more code than functions. Null when one is missing or lies outside of the text.
 */
function* numbered(
  { sections }: ElfFile,
  symbols: ReadonlyMap<string, ElfSymbol>,
  { prefix, first }: { prefix: string; first: number },
): Sliced<number[] | null> {
  const found: { index: number; address: number }[] = [];
  let read = 0;
  for (const [name, { address, section, type }] of symbols) {
    if ((read += 1) % PAUSE_SYMBOLS === 0) yield;
    if (!name.startsWith(prefix) || !/^(0|[1-9]\d{0,8})$/.test(name.slice(1))) continue;
    const index = Number(name.slice(1));
    if (index < first) continue;
    const home = sections[section];
    const isCode = home !== undefined && isText(home) && address < home.address + home.size;
    if (!isCode || type !== ELF.symbol.func) return null;
    found.push({ index, address });
  }
  found.sort((a, b) => a.index - b.index);
  if (found.some(({ index }, at) => index !== first + at)) return null;
  return found.map(({ address }) => address);
}

/** Kind, address, size and bytes of every section that is loaded. */
function sectionParts({ sections }: ElfFile, module: ElfSymbol): Uint8Array[] {
  const pieces = sections.filter(isLoaded).flatMap((section) => withoutModule(section, sections, module));
  const parts: Uint8Array[] = [Uint8Array.from(leb(pieces.length))];
  for (const section of pieces) {
    const { address, bytes, size } = section;
    parts.push(
      Uint8Array.from([kindOf(section), ...leb(address), ...leb(size), ...leb(bytes.length)]),
      bytes,
    );
  }
  return parts;
}

/** The compiler copies the whole module into its data, where nothing reads it: no worker has to hold it. */
function withoutModule(
  section: ElfSection,
  sections: readonly ElfSection[],
  module: ElfSymbol,
): ElfSection[] {
  if (sections[module.section] !== section || section.type === ELF.section.nobits || isText(section))
    return [section];
  const start = module.address - section.address;
  const slice = (from: number, to: number): ElfSection => {
    const bytes = section.bytes.subarray(from, to);
    return { ...section, address: section.address + from, size: bytes.length, bytes };
  };
  return [slice(0, start), slice(start + module.size, section.size)].filter(({ size }) => size > 0);
}

function kindOf(section: ElfSection): number {
  if (section.name === '.eh_frame') return KIND.unwinding;
  if (isText(section)) return KIND.text;
  return section.type === ELF.section.nobits ? KIND.zeros : KIND.data;
}

function addressList(addresses: readonly number[]): Uint8Array {
  return Uint8Array.from([...leb(addresses.length), ...addresses.flatMap(leb)]);
}

function nameOf(text: string): number[] {
  return [...leb(text.length), ...Buffer.from(text)];
}
