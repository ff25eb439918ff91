// The instructions of the enabled proposals: which immediates follow each opcode.

/**
 * What follows an opcode, from "Instructions" in the binary format of the WebAssembly Core Specification 2.0.
 * The operand types that do not depend on it stand in operands.ts.
 */
export type Immediates =
  | 'none'
  | 'unreachable'
  | 'block'
  | 'else'
  | 'end'
  | 'br'
  | 'br_if'
  | 'br_table'
  | 'return'
  | 'call'
  | 'call_indirect'
  | 'drop'
  | 'select'
  | 'select_typed'
  | 'local_get'
  | 'local_set'
  | 'local_tee'
  | 'global_get'
  | 'global_set'
  | 'table_get'
  | 'table_set'
  | 'table_init'
  | 'table_copy'
  | 'table_grow'
  | 'table_size'
  | 'table_fill'
  | 'elem_drop'
  | 'memory'
  | 'memory_copy'
  | 'memory_init'
  | 'data_drop'
  | 'memory_access'
  | 'memory_access_lane'
  | 'lane'
  | 'i32'
  | 'i64'
  | 'f32'
  | 'f64'
  | 'sixteen_bytes'
  | 'ref_null'
  | 'ref_is_null'
  | 'ref_func'
  | 'prefix_fc'
  | 'prefix_fd'
  | 'unknown';

type Row = readonly [first: number, last: number, immediates: Immediates];

const table = (size: number, rows: readonly Row[]): readonly Immediates[] => {
  const filled = new Array<Immediates>(size).fill('unknown');
  for (const [first, last, immediates] of rows) filled.fill(immediates, first, last + 1);
  return filled;
};

export const PLAIN: readonly Immediates[] = table(0x100, [
  [0x00, 0x00, 'unreachable'],
  [0x01, 0x01, 'none'], // nop
  [0x02, 0x04, 'block'], // block, loop, if
  [0x05, 0x05, 'else'],
  [0x0b, 0x0b, 'end'],
  [0x0c, 0x0c, 'br'],
  [0x0d, 0x0d, 'br_if'],
  [0x0e, 0x0e, 'br_table'],
  [0x0f, 0x0f, 'return'],
  [0x10, 0x10, 'call'],
  [0x11, 0x11, 'call_indirect'],
  [0x1a, 0x1a, 'drop'],
  [0x1b, 0x1b, 'select'],
  [0x1c, 0x1c, 'select_typed'],
  [0x20, 0x20, 'local_get'],
  [0x21, 0x21, 'local_set'],
  [0x22, 0x22, 'local_tee'],
  [0x23, 0x23, 'global_get'],
  [0x24, 0x24, 'global_set'],
  [0x25, 0x25, 'table_get'],
  [0x26, 0x26, 'table_set'],
  [0x28, 0x3e, 'memory_access'],
  [0x3f, 0x40, 'memory'], // memory.size, grow
  [0x41, 0x41, 'i32'],
  [0x42, 0x42, 'i64'],
  [0x43, 0x43, 'f32'],
  [0x44, 0x44, 'f64'],
  [0x45, 0xc4, 'none'], // numeric, sign extension
  [0xd0, 0xd0, 'ref_null'],
  [0xd1, 0xd1, 'ref_is_null'],
  [0xd2, 0xd2, 'ref_func'],
  [0xfc, 0xfc, 'prefix_fc'],
  [0xfd, 0xfd, 'prefix_fd'],
]);

export const AFTER_FC: readonly Immediates[] = table(18, [
  [0, 7, 'none'], // saturating truncation
  [8, 8, 'memory_init'],
  [9, 9, 'data_drop'],
  [10, 10, 'memory_copy'],
  [11, 11, 'memory'], // memory.fill
  [12, 12, 'table_init'],
  [13, 13, 'elem_drop'],
  [14, 14, 'table_copy'],
  [15, 15, 'table_grow'],
  [16, 16, 'table_size'],
  [17, 17, 'table_fill'],
]);

export const AFTER_FD: readonly Immediates[] = table(0x100, [
  [0x00, 0xff, 'none'],
  [0x00, 0x0b, 'memory_access'], // v128.load*, v128.store
  [0x0c, 0x0d, 'sixteen_bytes'], // v128.const, i8x16.shuffle
  [0x15, 0x22, 'lane'],
  [0x54, 0x5b, 'memory_access_lane'],
  [0x5c, 0x5d, 'memory_access'], // v128.load32_zero, load64_zero
  [0x9a, 0x9a, 'unknown'],
  [0xa2, 0xa2, 'unknown'],
  [0xa5, 0xa6, 'unknown'],
  [0xaf, 0xb0, 'unknown'],
  [0xb2, 0xb4, 'unknown'],
  [0xbb, 0xbb, 'unknown'],
  [0xc2, 0xc2, 'unknown'],
  [0xc5, 0xc6, 'unknown'],
  [0xcf, 0xd0, 'unknown'],
  [0xd2, 0xd4, 'unknown'],
  [0xe2, 0xe2, 'unknown'],
  [0xee, 0xee, 'unknown'],
]);

type ProposalRow = readonly [prefix: number, first: number, last: number, proposal: string];

const DISABLED: readonly ProposalRow[] = [
  [0, 0x06, 0x0a, 'exception handling'],
  [0, 0x12, 0x13, 'tail calls'],
  [0, 0x14, 0x15, 'typed function references'],
  [0, 0x18, 0x19, 'exception handling'],
  [0, 0x1f, 0x1f, 'exception handling'],
  [0, 0xd3, 0xd3, 'garbage collection'],
  [0, 0xd4, 0xd6, 'typed function references'],
  [0, 0xe0, 0xe6, 'stack switching'],
  [0, 0xfb, 0xfb, 'garbage collection'],
  [0, 0xfe, 0xfe, 'threads'],
  [0xfc, 18, 18, 'memory control'],
  [0xfc, 19, 22, 'wide arithmetic'],
  [0xfd, 0x100, 0x12f, 'relaxed SIMD'],
];

/** The disabled proposal that an opcode belongs to, if any; `prefix` is 0 for an opcode without prefix. */
export function disabledProposal(prefix: number, opcode: number): string | undefined {
  return DISABLED.find((row) => row[0] === prefix && opcode >= row[1] && opcode <= row[2])?.[3];
}
