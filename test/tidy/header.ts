// Reads what a C header of native/ declares, and what a built library exports.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './repository.ts';

/** A function with `EDGE_API`; kinds are those of bun:ffi. */
export type Declaration = { args: string[]; returns: string };

export type Header = {
  functions: Map<string, Declaration>;
  /** Enumerators by enum, with the numbers that C gives them. */
  enums: Map<string, Map<string, number>>;
  /** The names of the words of each structure that holds nothing but 32-bit words, in their order. */
  structures: Map<string, string[]>;
  /** The number that the header defines under `name`, as an enumerator or with `#define`; throws without. */
  number(name: string): number;
};

const PLAIN: Readonly<Record<string, string>> = {
  void: 'void',
  uint8_t: 'u8',
  int8_t: 'i8',
  uint16_t: 'u16',
  int16_t: 'i16',
  uint32_t: 'u32',
  int32_t: 'i32',
  uint64_t: 'u64',
  int64_t: 'i64',
  float: 'f32',
  double: 'f64',
};

/** The headers `names` of native/, as one. */
export function readHeader(...names: readonly string[]): Header {
  return parseHeader(names.map((name) => readFileSync(join(ROOT, 'native', name), 'utf8')).join('\n'));
}

/** Reads the text of a header; throws at a function or an enumerator that it cannot read. */
export function parseHeader(text: string): Header {
  const code = text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, ' ');
  const enums = readEnums(code);
  const numbers = new Map([...readDefines(code), ...[...enums.values()].flatMap((values) => [...values])]);
  return {
    functions: readFunctions(code),
    enums,
    structures: readStructures(code),
    number(name) {
      const value = numbers.get(name);
      if (value === undefined) throw new Error(`the header defines no number ${name}`);
      return value;
    },
  };
}

function readFunctions(code: string): Map<string, Declaration> {
  const found = new Map<string, Declaration>();
  const declarations = code.replaceAll(/^\s*#.*$/gm, '');
  for (const [, returns = '', name = '', args = ''] of declarations.matchAll(
    /EDGE_API\s+([\w\s*]*?[\s*])(\w+)\s*\(([^)]*)\)\s*;/g,
  )) {
    const list = args.trim() === 'void' || args.trim() === '' ? [] : args.split(',');
    found.set(name, { args: list.map((arg) => kindOf(arg, 'argument')), returns: kindOf(returns, 'result') });
  }
  const marks = [...declarations.matchAll(/\bEDGE_API\b/g)].length;
  if (marks !== found.size)
    throw new Error(`the header has ${marks} EDGE_API, ${found.size} of them were read`);
  return found;
}

function kindOf(text: string, place: 'argument' | 'result'): string {
  const type = text.replaceAll(/\s+/g, ' ').trim();
  if (type.includes('*')) return place === 'result' && /^const char ?\*$/.test(type) ? 'cstring' : 'ptr';
  const words = type.split(' ').filter((word) => word !== 'const');
  const kind = PLAIN[words[0] ?? ''];
  if (kind === undefined) throw new Error(`a type that bun:ffi has no plain kind for: ${type}`);
  return kind;
}

/** Defines with a plain number; others are C's own business. */
function readDefines(code: string): [name: string, value: number][] {
  const defines = code.matchAll(/^#define[ \t]+(\w+)[ \t]+(0x[0-9a-f]+|\d+)u?[ \t]*$/gm);
  return [...defines].map(([, name = '', value = '']) => [name, Number(value)]);
}

function readEnums(code: string): Map<string, Map<string, number>> {
  const enums = new Map<string, Map<string, number>>();
  for (const [, name = '', body = ''] of code.matchAll(/\benum\s+(\w+)\s*\{([^}]*)\}/g)) {
    const values = new Map<string, number>();
    let next = 0;
    for (const part of piecesOf(body, ',')) {
      const [key = '', given] = part.split('=').map((one) => one.trim());
      if (given !== undefined) next = Number(given.replace(/u$/, ''));
      if (!Number.isInteger(next)) throw new Error(`${name}: ${part} is no plain number`);
      values.set(key, next);
      next += 1;
    }
    enums.set(name, values);
  }
  return enums;
}

function readStructures(code: string): Map<string, string[]> {
  const structures = new Map<string, string[]>();
  for (const [, name = '', body = ''] of code.matchAll(/\bstruct\s+(\w+)\s*\{([^}]*)\}/g)) {
    const lists = piecesOf(body, ';').map((line) => /^u?int32_t\s+(\w+(?:\s*,\s*\w+)*)$/.exec(line)?.[1]);
    const words = lists.filter((list) => list !== undefined);
    if (words.length === lists.length)
      structures.set(
        name,
        words.flatMap((list) => piecesOf(list, ',')),
      );
  }
  return structures;
}

function piecesOf(text: string, separator: string): string[] {
  return text
    .split(separator)
    .map((piece) => piece.trim())
    .filter((piece) => piece !== '');
}

const SHT_DYNSYM = 11;
const SYMBOL_BYTES = 24;

/** Names that an ELF64 library defines for others (global or weak, default visibility). */
export function readExports(bytes: Uint8Array): Set<string> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0) !== 0x7f454c46 || view.getUint8(4) !== 2) throw new Error('not an ELF64 file');
  const u64 = (at: number): number => Number(view.getBigUint64(at, true));
  const sectionsAt = u64(40);
  const sectionBytes = view.getUint16(58, true);
  const section = (index: number): { type: number; at: number; size: number; link: number } => {
    const at = sectionsAt + index * sectionBytes;
    const type = view.getUint32(at + 4, true);
    return { type, at: u64(at + 24), size: u64(at + 32), link: view.getUint32(at + 40, true) };
  };
  const names = new Set<string>();
  for (let i = 0; i < view.getUint16(60, true); i += 1) {
    const symbols = section(i);
    if (symbols.type !== SHT_DYNSYM) continue;
    const strings = section(symbols.link);
    for (let at = symbols.at; at < symbols.at + symbols.size; at += SYMBOL_BYTES) {
      const isDefined = view.getUint16(at + 6, true) !== 0;
      const isGlobal = view.getUint8(at + 4) >> 4 !== 0;
      const isVisible = (view.getUint8(at + 5) & 3) === 0;
      if (isDefined && isGlobal && isVisible) names.add(textAt(bytes, strings.at + view.getUint32(at, true)));
    }
  }
  return names;
}

function textAt(bytes: Uint8Array, at: number): string {
  return new TextDecoder().decode(bytes.subarray(at, bytes.indexOf(0, at)));
}
