// Reads what a C header declares and what a built library exports.

/** A function with `EDGE_API`; kinds are those of bun:ffi. */
export type Declaration = { args: string[]; returns: string };

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

/** Functions by name; throws when a declaration has a type that this reader does not know. */
export function readDeclarations(header: string): Map<string, Declaration> {
  const found = new Map<string, Declaration>();
  const code = withoutComments(header).replaceAll(/^\s*#.*$/gm, '');
  for (const [, returns = '', name = '', args = ''] of code.matchAll(
    /EDGE_API\s+([\w\s*]*?[\s*])(\w+)\s*\(([^)]*)\)\s*;/g,
  )) {
    const list = args.trim() === 'void' || args.trim() === '' ? [] : args.split(',');
    found.set(name, { args: list.map((arg) => kindOf(arg, 'argument')), returns: kindOf(returns, 'result') });
  }
  const marks = [...code.matchAll(/\bEDGE_API\b/g)].length;
  if (marks !== found.size)
    throw new Error(`the header has ${marks} EDGE_API, ${found.size} of them were read`);
  return found;
}

/** Enumerators by enum, with the numbers that C gives them. */
export function readEnums(header: string): Map<string, Map<string, number>> {
  const enums = new Map<string, Map<string, number>>();
  for (const [, name = '', body = ''] of withoutComments(header).matchAll(/\benum\s+(\w+)\s*\{([^}]*)\}/g)) {
    const values = new Map<string, number>();
    let next = 0;
    for (const part of body
      .split(',')
      .map((one) => one.trim())
      .filter((one) => one !== '')) {
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

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, ' ');
}

function kindOf(text: string, place: 'argument' | 'result'): string {
  const type = text.replaceAll(/\s+/g, ' ').trim();
  if (type.includes('*')) return place === 'result' && /^const char ?\*$/.test(type) ? 'cstring' : 'ptr';
  const words = type.split(' ').filter((word) => word !== 'const');
  const kind = PLAIN[words[0] ?? ''];
  if (kind === undefined) throw new Error(`a type that bun:ffi has no plain kind for: ${type}`);
  return kind;
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
