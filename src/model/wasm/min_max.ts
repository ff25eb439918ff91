// Replaces scalar minimum and maximum by calls of functions that compute them from comparisons.
import { joinParts, type Sliced } from '../../base/concurrency.ts';
import { leb } from './leb.ts';
import { ModuleReader } from './parser/reader.ts';
import { countFunctionImports, skipInstruction, skipLocals } from './parser/walk.ts';

const HEADER_BYTES = 8;
const SECTION = { type: 1, import: 2, function: 3, code: 10 } as const;
const [F32, F64] = [0x7d, 0x7c];
const CALL = 0x10;
/** Bytes of code that are read between two pauses. */
const PAUSE_BYTES = 16 * 1024;

/** Opcodes of one float type that a helper is made of. */
const OPCODES = {
  f32: {
    type: F32,
    eq: 0x5b,
    lt: 0x5d,
    gt: 0x5e,
    add: 0x92,
    toBits: 0xbc,
    fromBits: 0xbe,
    and: 0x71,
    or: 0x72,
  },
  f64: {
    type: F64,
    eq: 0x61,
    lt: 0x63,
    gt: 0x64,
    add: 0xa0,
    toBits: 0xbd,
    fromBits: 0xbf,
    and: 0x83,
    or: 0x84,
  },
} as const;

type Helper = { readonly float: keyof typeof OPCODES; readonly isMin: boolean };

/** By the opcode that a helper stands for. */
const HELPERS: ReadonlyMap<number, Helper> = new Map([
  [0x96, { float: 'f32', isMin: true }],
  [0x97, { float: 'f32', isMin: false }],
  [0xa4, { float: 'f64', isMin: true }],
  [0xa5, { float: 'f64', isMin: false }],
]);

/**
 * The same module without f32.min, f32.max, f64.min and f64.max, which the compiler turns into calls of the C
 * library where it inlines the function around them, and nothing links these calls. The functions stand behind
 * all others, so no index changes. Returns `bytes` itself where there is nothing to replace. `bytes` must
 * have passed `checkModule`: it throws for malformed ones.
 */
export function* replaceMinMax(bytes: Uint8Array): Sliced<Uint8Array> {
  const sections = sectionsOf(bytes);
  const countOf = (id: number): number => {
    const section = sections.find((one) => one.id === id);
    return section === undefined ? 0 : readerAt(bytes, section).u32();
  };
  const imports = sections.find(({ id }) => id === SECTION.import);
  const imported = imports === undefined ? 0 : countFunctionImports(readerAt(bytes, imports));
  const added = new AddedFunctions(imported + countOf(SECTION.function));
  const code = sections.find(({ id }) => id === SECTION.code);
  if (code === undefined) return bytes;
  const bodies = yield* rewriteBodies(readerAt(bytes, code), added);
  const { helpers } = added;
  if (helpers.length === 0) return bytes;
  const types = countOf(SECTION.type);
  const parts: Uint8Array[] = [bytes.subarray(0, HEADER_BYTES)];
  for (const section of sections) {
    if (section.id === SECTION.type) {
      parts.push(...extended(bytes, section, [typeOf('f32'), typeOf('f64')]));
    } else if (section.id === SECTION.function) {
      const indices = helpers.map(({ float }) => leb(types + (float === 'f32' ? 0 : 1)));
      parts.push(...extended(bytes, section, indices));
    } else if (section.id === SECTION.code) {
      const count = leb(countOf(SECTION.code) + helpers.length);
      const contents = [Uint8Array.from(count), ...bodies, ...helpers.map(bodyOf)];
      for (const part of sectionParts(section.id, contents)) parts.push(part);
    } else {
      parts.push(bytes.subarray(section.start, section.end));
    }
  }
  return yield* joinParts(parts);
}

/** `start` is where the id stands, `contents` where the contents begin. */
type Section = { id: number; start: number; contents: number; end: number };

function sectionsOf(bytes: Uint8Array): Section[] {
  const reader = new ModuleReader(bytes);
  const sections: Section[] = [];
  reader.skip(HEADER_BYTES);
  while (reader.position < reader.end) {
    const start = reader.position;
    const id = reader.byte();
    const size = reader.u32();
    const contents = reader.position;
    reader.skip(size);
    sections.push({ id, start, contents, end: reader.position });
  }
  return sections;
}

function readerAt(bytes: Uint8Array, { contents, end }: Section): ModuleReader {
  const reader = new ModuleReader(bytes);
  reader.position = contents;
  reader.end = end;
  return reader;
}

/** The helpers that are needed, in the order of their indices, which begin behind the `functions` there are. */
class AddedFunctions {
  readonly helpers: Helper[] = [];
  readonly #functions: number;

  constructor(functions: number) {
    this.#functions = functions;
  }

  indexOf(helper: Helper): number {
    if (!this.helpers.includes(helper)) this.helpers.push(helper);
    return this.#functions + this.helpers.indexOf(helper);
  }
}

/** The bodies of the code section, each with its size. */
function* rewriteBodies(reader: ModuleReader, added: AddedFunctions): Sliced<Uint8Array[]> {
  const parts: Uint8Array[] = [];
  for (let count = reader.u32(); count > 0; count -= 1) {
    const start = reader.position;
    const size = reader.u32();
    const { end } = reader;
    if (size > end - reader.position) reader.malformed('A function body ends beyond its section.', start);
    reader.end = reader.position + size;
    const body = yield* rewriteBody(reader, added);
    reader.end = end;
    if (body === null) parts.push(reader.bytes.subarray(start, reader.position));
    else parts.push(Uint8Array.from(leb(body.length)), body);
  }
  return parts;
}

/** The new body; null where nothing was replaced. */
function* rewriteBody(reader: ModuleReader, added: AddedFunctions): Sliced<Uint8Array | null> {
  const written = new ByteWriter(reader.end - reader.position);
  let kept = reader.position;
  let paused = reader.position;
  skipLocals(reader);
  while (reader.position < reader.end) {
    const at = reader.position;
    const helper = HELPERS.get(skipInstruction(reader));
    if (reader.position - paused > PAUSE_BYTES) {
      paused = reader.position;
      yield;
    }
    if (helper === undefined) continue;
    written.push(reader.bytes.subarray(kept, at));
    written.push([CALL, ...leb(added.indexOf(helper))]);
    kept = reader.position;
  }
  yield;
  if (written.length === 0) return null;
  written.push(reader.bytes.subarray(kept, reader.end));
  return written.bytes();
}

/** Bytes that grow at their end. */
class ByteWriter {
  length = 0;
  #bytes = new Uint8Array(0);
  readonly #expected: number;

  constructor(expected: number) {
    this.#expected = expected;
  }

  push(piece: Uint8Array | readonly number[]): void {
    const needed = this.length + piece.length;
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#expected, needed * 2));
      larger.set(this.bytes());
      this.#bytes = larger;
    }
    this.#bytes.set(piece, this.length);
    this.length = needed;
  }

  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }
}

function typeOf(float: keyof typeof OPCODES): number[] {
  const { type } = OPCODES[float];
  return [0x60, 2, type, type, 1, type];
}

/**
 * `a < b ? a : b` where one is less than the other. Equal operands differ in the sign of zero at most, which
 * the bits of both decide; the sum of the others is a NaN.
 */
function bodyOf({ float, isMin }: Helper): Uint8Array {
  const { add, and, eq, fromBits, gt, lt, or, toBits } = OPCODES[float];
  const [a, b, select] = [[0x20, 0], [0x20, 1], 0x1b];
  const both = [...a, ...b];
  const orI32 = OPCODES.f32.or;
  const chosen = [...both, ...both, isMin ? lt : gt, select];
  const equal = [...a, toBits, ...b, toBits, isMin ? or : and, fromBits];
  const others = [...equal, ...both, add, ...both, eq, select];
  const differs = [...both, lt, ...both, gt, orI32];
  const body = [0, ...chosen, ...others, ...differs, select, 0x0b];
  return Uint8Array.from([...leb(body.length), ...body]);
}

/** A section that is a vector, with more items at its end. */
function extended(bytes: Uint8Array, section: Section, items: readonly (readonly number[])[]): Uint8Array[] {
  const reader = readerAt(bytes, section);
  const count = reader.u32() + items.length;
  const old = bytes.subarray(reader.position, section.end);
  return sectionParts(section.id, [Uint8Array.from(leb(count)), old, Uint8Array.from(items.flat())]);
}

function sectionParts(id: number, contents: readonly Uint8Array[]): Uint8Array[] {
  return [Uint8Array.from([id, ...leb(bytesOf(contents))]), ...contents];
}

const bytesOf = (parts: readonly Uint8Array[]): number => parts.reduce((sum, { length }) => sum + length, 0);
