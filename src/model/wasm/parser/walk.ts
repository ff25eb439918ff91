// Walks over the parts of a module that was accepted, for whoever rewrites some of them.
import { AFTER_FC, AFTER_FD, PLAIN, type Immediates } from './instructions.ts';
import type { ModuleReader } from './reader.ts';

const PREFIX_FC = 0xfc;
const PREFIX_FD = 0xfd;
const FUNCTION_IMPORT = 0;

/** The number of LEB128 integers behind an opcode, then that of other bytes; the rest have code of their own. */
const SIZES: Partial<Record<Immediates, readonly [integers: number, bytes: number]>> = {
  block: [1, 0],
  br: [1, 0],
  br_if: [1, 0],
  call: [1, 0],
  call_indirect: [2, 0],
  local_get: [1, 0],
  local_set: [1, 0],
  local_tee: [1, 0],
  global_get: [1, 0],
  global_set: [1, 0],
  table_get: [1, 0],
  table_set: [1, 0],
  table_init: [2, 0],
  table_copy: [2, 0],
  table_grow: [1, 0],
  table_size: [1, 0],
  table_fill: [1, 0],
  elem_drop: [1, 0],
  memory: [1, 0],
  memory_copy: [2, 0],
  memory_init: [2, 0],
  data_drop: [1, 0],
  memory_access: [2, 0],
  memory_access_lane: [2, 1],
  lane: [0, 1],
  i32: [1, 0],
  i64: [1, 0],
  f32: [0, 4],
  f64: [0, 8],
  sixteen_bytes: [0, 16],
  ref_null: [1, 0],
  ref_func: [1, 0],
};

function skipInteger(reader: ModuleReader): void {
  while (reader.byte() >= 0x80);
}

/** Moves over one instruction and returns its first byte, which is its opcode unless that is a prefix. */
export function skipInstruction(reader: ModuleReader): number {
  const opcode = reader.byte();
  const immediates = immediatesOf(reader, opcode);
  if (immediates === 'br_table') {
    for (let labels = reader.u32() + 1; labels > 0; labels -= 1) skipInteger(reader);
  } else if (immediates === 'select_typed') {
    reader.skip(reader.u32());
  } else {
    const [integers, bytes] = SIZES[immediates] ?? [0, 0];
    for (let count = 0; count < integers; count += 1) skipInteger(reader);
    reader.skip(bytes);
  }
  return opcode;
}

function immediatesOf(reader: ModuleReader, opcode: number): Immediates {
  if (opcode === PREFIX_FC) return AFTER_FC[reader.u32()] ?? 'unknown';
  if (opcode === PREFIX_FD) return AFTER_FD[reader.u32()] ?? 'unknown';
  return PLAIN[opcode] ?? 'unknown';
}

/** Moves over the declarations at the start of a function body. */
export function skipLocals(reader: ModuleReader): void {
  for (let groups = reader.u32(); groups > 0; groups -= 1) {
    skipInteger(reader);
    reader.skip(1);
  }
}

/** The number of functions in the contents of an import section; refuses imports of another kind. */
export function countFunctionImports(reader: ModuleReader): number {
  const count = reader.u32();
  for (let index = 0; index < count; index += 1) {
    reader.skip(reader.u32());
    reader.skip(reader.u32());
    if (reader.byte() !== FUNCTION_IMPORT) reader.malformed('An import is no function.');
    skipInteger(reader);
  }
  return count;
}
