// Instructions are typed as by the engine in reachable code, and by the specification in unreachable code.
import { describe, expect, test } from 'bun:test';
import { AFTER_FC, AFTER_FD, PLAIN, type Immediates } from '../../../src/model/wasm/parser/instructions.ts';
import {
  FC_OPERANDS,
  FD_OPERANDS,
  PLAIN_OPERANDS,
  type Operands,
} from '../../../src/model/wasm/parser/operands.ts';
import { parseModule } from '../../../src/model/wasm/parser/parser.ts';
import {
  EXTERNREF,
  F32,
  F64,
  FUNCREF,
  FURNISHED,
  HANDLE_TYPE,
  I32,
  I64,
  V128,
  IMMEDIATES,
  moduleRunning,
  repeated,
  signature,
  u32,
  vector,
} from './builder.ts';

const CONSTANTS: ReadonlyMap<number, readonly number[]> = new Map([
  [I32, [0x41, 0]],
  [I64, [0x42, 0]],
  [F32, [0x43, ...repeated(4, 0)]],
  [F64, [0x44, ...repeated(8, 0)]],
  [V128, [0xfd, 0x0c, ...repeated(16, 0)]],
  [FUNCREF, [0xd0, FUNCREF]],
  [EXTERNREF, [0xd0, EXTERNREF]],
]);

const codeOf = (bytes: Uint8Array): string => {
  const result = parseModule(bytes);
  return result.ok ? 'ok' : result.error.code;
};

/** A block with this result that pushes constants of these types and then runs the instruction. */
function running(
  operands: readonly number[],
  instruction: readonly number[],
  push: number,
): Uint8Array<ArrayBuffer> {
  const constants = operands.flatMap((type) => CONSTANTS.get(type) ?? []);
  const dropped = push === 0x40 ? [] : [0x1a];
  return moduleRunning([0x02, push, ...constants, ...instruction, 0x0b, ...dropped], FURNISHED);
}

const TABLES: [
  prefix: number[],
  kinds: readonly Immediates[],
  operands: readonly (Operands | undefined)[],
][] = [
  [[], PLAIN, PLAIN_OPERANDS],
  [[0xfc], AFTER_FC, FC_OPERANDS],
  [[0xfd], AFTER_FD, FD_OPERANDS],
];

describe('An instruction of fixed types', () => {
  test.each(TABLES)(
    'after %p takes its operands and no others, as in the engine',
    (prefix, kinds, operands) => {
      const wrong: string[] = [];
      let checked = 0;
      kinds.forEach((kind, opcode) => {
        const typing = operands[opcode];
        if (kind === 'unknown' || typing === undefined) return;
        const encoded = [
          ...prefix,
          ...(prefix.length === 0 ? [opcode] : u32(opcode)),
          ...(IMMEDIATES[kind] ?? []),
        ];
        const params = [...typing.pops].toReversed();
        const push = typing.push === 0 ? 0x40 : typing.push;
        const variants: [number[], number, string][] = [[params, push, 'ok']];
        for (const type of CONSTANTS.keys()) {
          if (type !== push) variants.push([params, type, 'invalid_wasm']);
          params.forEach((param, at) => {
            if (type !== param) variants.push([params.with(at, type), push, 'invalid_wasm']);
          });
        }
        if (params.length > 0) variants.push([params.slice(1), push, 'invalid_wasm']);
        for (const [types, result, expected] of variants) {
          const bytes = running(types, encoded, result);
          const engine = WebAssembly.validate(bytes);
          checked += 1;
          if (codeOf(bytes) === expected && engine === (expected === 'ok')) continue;
          wrong.push(`${encoded.join(' ')} of ${types.join(' ')}: ${codeOf(bytes)}, engine ${engine}`);
        }
      });
      expect(wrong).toEqual([]);
      expect(checked).toBeGreaterThan(100);
    },
  );
});

type Case = [what: string, instructions: number[]];

const i32 = [0x41, 0];
const i64 = [0x42, 0];

const UNREACHABLE_INVALID: Case[] = [
  ['an operand of a wrong type', [0x00, ...i64, ...i64, 0x6a, 0x1a]],
  ['a wrong type below an operand that is not there', [0x00, ...i64, 0x6a, 0x1a]],
  ['an operand left behind', [0x00, 0x45]],
  ['a block that leaves an operand', [0x00, 0x02, 0x40, ...i32, 0x0b]],
  ['a block of a wrong result', [0x00, 0x02, 0x7f, ...i64, 0x0b, 0x1a]],
  ['a reference as a number', [0x00, 0xd0, EXTERNREF, 0x61, 0x1a]],
  ['after a branch', [0x02, 0x40, 0x0c, 0, ...i64, 0x45, 0x1a, 0x0b]],
  ['after a return', [...i32, 0x0f, ...i64, 0x45, 0x1a]],
  ['after a br_table', [0x02, 0x40, ...i32, 0x0e, 0, 0, ...i64, 0x45, 0x1a, 0x0b]],
  ['a select of two types', [0x00, ...i32, ...i64, ...i32, 0x1b, 0x1a]],
  ['a select of references', [0x00, 0xd0, FUNCREF, 0xd0, FUNCREF, ...i32, 0x1b, 0x1a]],
  ['a call of wrong operands', [0x00, ...i64, 0x10, 0, 0x1a]],
  ['a global of a wrong type', [0x00, ...i64, 0x24, 0]],
  ['a local of a wrong type', [0x00, ...i64, 0x21, 0]],
  ['a branch of a wrong type', [0x02, 0x7f, 0x00, ...i64, 0x0c, 0, 0x0b, 0x1a]],
  ['a br_if of a wrong type', [0x02, 0x7f, 0x00, ...i64, ...i32, 0x0d, 0, 0x1a, 0x00, 0x0b, 0x1a]],
  ['labels that carry different numbers', [0x02, 0x40, 0x02, 0x7f, 0x00, 0x0e, 1, 0, 1, 0x0b, 0x1a, 0x0b]],
  ['the other branch of an if', [0x00, 0x04, 0x7f, ...i32, 0x05, ...i64, 0x0b, 0x1a]],
];

const REACHED_INVALID: Case[] = [
  ['an instruction without operands', [0x6a, 0x1a]],
  ['an operand below the block', [...i32, 0x02, 0x40, 0x1a, 0x0b]],
  ['a constant global that is set', [...i32, 0x24, 1]],
  ['a table of another type', [...i32, 0xd0, EXTERNREF, 0x26, 0]],
  ['a global that is not there', [0x23, 9, 0x1a]],
  ['a local that is not there', [0x20, 10, 0x1a]],
  ['a table that is not there', [...i32, 0x25, 9, 0x1a]],
  ['a data segment that is not there', [0xfc, 9, 9]],
  ['an element segment that is not there', [0xfc, 13, 9]],
  ['a call through a table of other references', [...i32, 0x11, 0, 1, 0x1a]],
  ['an if without else that makes a value', [...i32, 0x04, 0x7f, ...i32, 0x0b, 0x1a]],
  ['a select of references', [0xd0, FUNCREF, 0xd0, FUNCREF, ...i32, 0x1b, 0x1a]],
  ['a select of two named types', [...i32, ...i32, ...i32, 0x1c, 2, I32, I32, 0x1a]],
  ['is_null of a number', [...i32, 0xd1, 0x1a]],
  ['a copy between tables of two types', [...i32, ...i32, ...i32, 0xfc, 14, 0, 1]],
  ['elements of another type', [...i32, ...i32, ...i32, 0xfc, 12, 0, 1]],
];

const VALID: Case[] = [
  ['any operand after unreachable', [0x00, 0x6a, 0x1a]],
  ['an operand that is there and one that is not', [0x00, ...i32, 0x6a, 0x1a]],
  ['a select of what is not there', [0x00, 0x1b, 0x1a]],
  ['a select of a named reference', [0xd0, FUNCREF, 0xd0, FUNCREF, ...i32, 0x1c, 1, FUNCREF, 0x1a]],
  ['a loop whose branch takes nothing back', [0x03, 0x7f, ...i32, 0x0d, 0, ...i32, 0x0b, 0x1a]],
  ['a block that takes what is below it', [...i32, 0x02, 1, 0x45, 0x0b, 0x1a]],
  ['an if with both branches', [...i32, 0x04, 0x7f, ...i32, 0x05, ...i32, 0x0b, 0x1a]],
  ['an if without else that keeps its types', [...i32, ...i32, 0x04, 1, 0x45, 0x0b, 0x1a]],
  [
    'a br_table of equal numbers in unreachable code',
    [0x02, 0x7f, 0x02, 0x7d, 0x00, 0x0e, 1, 0, 1, 0x0b, 0x1a, 0x00, 0x0b, 0x1a],
  ],
  ['an element segment copied into its table', [...i32, ...i32, ...i32, 0xfc, 12, 0, 0]],
];

const PARTS = {
  ...FURNISHED,
  type: vector([HANDLE_TYPE, signature([I32], [I32])]),
  table: vector([
    [FUNCREF, 0, 4],
    [EXTERNREF, 0, 4],
  ]),
  global: vector([
    [I32, 1, 0x41, 0, 0x0b],
    [I32, 0, 0x41, 0, 0x0b],
  ]),
};

describe('Unreachable code', () => {
  test.each(UNREACHABLE_INVALID)('is type-checked all the same: %s', (_, instructions) => {
    expect(codeOf(moduleRunning(instructions, PARTS))).toBe('invalid_wasm');
  });
});

describe('Reachable code', () => {
  test.each(REACHED_INVALID)('is refused, as in the engine: %s', (_, instructions) => {
    const bytes = moduleRunning(instructions, PARTS);
    expect(codeOf(bytes)).toBe('invalid_wasm');
    expect(WebAssembly.validate(bytes)).toBe(false);
  });

  test.each(VALID)('is admitted, as in the engine: %s', (_, instructions) => {
    const bytes = moduleRunning(instructions, PARTS);
    expect(codeOf(bytes)).toBe('ok');
    expect(WebAssembly.validate(bytes)).toBe(true);
  });
});
