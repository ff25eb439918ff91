// Takes a module apart into sections, function bodies and instructions, and puts it together again.
import { leb } from '../../../src/model/wasm/leb.ts';
import { ModuleReader } from '../../../src/model/wasm/parser/reader.ts';
import { skipInstruction, skipLocals } from '../../../src/model/wasm/parser/walk.ts';

export const SECTION = {
  custom: 0,
  type: 1,
  import: 2,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  element: 9,
  code: 10,
  data: 11,
} as const;
/** The places of the sections among each other. */
const ORDER = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11];
const HEADER_BYTES = 8;

export type Section = { readonly id: number; readonly contents: Uint8Array };

export function takeApart(bytes: Uint8Array): Section[] {
  const reader = new ModuleReader(bytes);
  const sections: Section[] = [];
  reader.skip(HEADER_BYTES);
  while (reader.position < reader.end) {
    const id = reader.byte();
    const size = reader.u32();
    const start = reader.position;
    reader.skip(size);
    sections.push({ id, contents: bytes.subarray(start, reader.position) });
  }
  return sections;
}

export function putTogether(header: Uint8Array, sections: readonly Section[]): Uint8Array {
  const parts = sections.flatMap(({ id, contents }) => [
    Uint8Array.from([id, ...leb(contents.length)]),
    contents,
  ]);
  return Buffer.concat([header.subarray(0, HEADER_BYTES), ...parts]);
}

/** The same module with other contents of the first section `id`, which comes in its place if it is new. */
export function withSection(bytes: Uint8Array, id: number, contents: ArrayLike<number>): Uint8Array {
  const sections = takeApart(bytes);
  const section = { id, contents: Uint8Array.from(contents) };
  const at = sections.findIndex((one) => one.id === id);
  if (at >= 0) return putTogether(bytes, sections.with(at, section));
  const behind = sections.findIndex((one) => ORDER.indexOf(one.id) > ORDER.indexOf(id));
  return putTogether(bytes, sections.toSpliced(behind < 0 ? sections.length : behind, 0, section));
}

export function contentsOf(bytes: Uint8Array, id: number): Uint8Array | undefined {
  return takeApart(bytes).find((section) => section.id === id)?.contents;
}

/** The items of a section whose items `skip` moves over; null where there is no such section. */
export function itemsOf(
  bytes: Uint8Array,
  id: number,
  skip: (reader: ModuleReader) => void,
): Uint8Array[] | null {
  const contents = contentsOf(bytes, id);
  if (contents === undefined) return null;
  const reader = new ModuleReader(contents);
  return Array.from({ length: Math.min(reader.u32(), contents.length) }, () => {
    const start = reader.position;
    skip(reader);
    return contents.subarray(start, reader.position);
  });
}

export const joined = (items: readonly ArrayLike<number>[]): Uint8Array =>
  Buffer.concat([Uint8Array.from(leb(items.length)), ...items.map((item) => Uint8Array.from(item))]);

/** The bodies of the functions, without their lengths. */
export function bodiesOf(bytes: Uint8Array): Uint8Array[] {
  const items = itemsOf(bytes, SECTION.code, (reader) => reader.skip(reader.u32())) ?? [];
  return items.map((item) => {
    const reader = new ModuleReader(item);
    reader.u32();
    return item.subarray(reader.position);
  });
}

export function withBodies(bytes: Uint8Array, bodies: readonly ArrayLike<number>[]): Uint8Array {
  return withSection(bytes, SECTION.code, joined(bodies.map(sized)));
}

const sized = (body: ArrayLike<number>): number[] => leb(body.length).concat(Array.from(body));

/** `start` is that of the opcode, `operands` that of what follows it. */
export type Instruction = {
  readonly opcode: number;
  readonly start: number;
  readonly operands: number;
  readonly end: number;
};

export function instructionsOf(body: Uint8Array): Instruction[] {
  const reader = new ModuleReader(body);
  const found: Instruction[] = [];
  skipLocals(reader);
  while (reader.position < reader.end) {
    const start = reader.position;
    const opcode = skipInstruction(reader);
    found.push({ opcode, start, operands: start + 1, end: reader.position });
  }
  return found;
}
