// Each bound on a module admits its limit and refuses one above it, with its own code.
import { describe, expect, test } from 'bun:test';
import { MODULE_BOUNDS } from '../../../src/base/limits/module.ts';
import { parseModule } from '../../../src/model/wasm/parser/parser.ts';
import type { ModuleLimits } from '../../../src/model/wasm/module.ts';
import {
  FUNCREF,
  HANDLE_TYPE,
  I32,
  ZERO,
  body,
  custom,
  exported,
  imported,
  moduleOf,
  moduleRunning,
  repeated,
  section,
  signature,
  text,
  u32,
  vector,
} from './builder.ts';

const codeOf = (bytes: Uint8Array, limits: Partial<ModuleLimits> = {}): string => {
  const result = parseModule(bytes, { limits });
  return result.ok ? 'ok' : result.error.code;
};

const times = <T>(count: number, item: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, at) => item(at));

const global = [I32, 0x00, ...ZERO, 0x0b];
const deep = (levels: number): number[] => [...repeated(levels, 0x02, 0x40), ...repeated(levels, 0x0b)];
const functions = (count: number): Uint8Array<ArrayBuffer> =>
  moduleOf({ function: vector(times(count, () => [0])), code: vector(times(count, () => body(ZERO))) });

type Bound = [limit: keyof ModuleLimits, code: string, build: (count: number) => Uint8Array<ArrayBuffer>];

const BOUNDS: Bound[] = [
  ['functionsMax', 'too_many_functions', functions],
  ['typesMax', 'too_many_items', (count) => moduleOf({ type: vector(times(count, () => HANDLE_TYPE)) })],
  [
    'importsMax',
    'too_many_items',
    (count) => moduleOf({ import: vector(times(count, () => imported('env', 'f', [0, 0]))) }),
  ],
  [
    'exportsMax',
    'too_many_items',
    (count) => moduleOf({ export: vector(times(count, (at) => exported(`e${at}`, 0, 0))) }),
  ],
  ['globalsMax', 'too_many_items', (count) => moduleOf({ global: vector(times(count, () => global)) })],
  ['segmentsMax', 'too_many_items', (count) => moduleOf({ data: vector(times(count, () => [1, 0])) })],
  ['segmentsMax', 'too_many_items', (count) => moduleOf({ element: vector(times(count, () => [1, 0, 0])) })],
  [
    'tablesMax',
    'too_many_tables',
    (count) => moduleOf({ table: vector(times(count, () => [FUNCREF, 0, 0])) }),
  ],
  ['nestingMax', 'nesting_too_deep', (count) => moduleRunning(deep(count))],
  ['localsMax', 'too_many_locals', (count) => moduleOf({ code: vector([body(ZERO, [[count - 10, I32]])]) })],
  [
    'localsTotalMax',
    'too_many_locals',
    (count) => moduleOf({ code: vector([body(ZERO, [[count - 10, I32]])]) }),
  ],
  [
    'parametersMax',
    'too_many_items',
    (count) =>
      moduleOf({
        type: vector([signature(repeated(count, I32), [])]),
        export: [0],
        code: vector([body([])]),
      }),
  ],
  ['nameBytesMax', 'name_too_long', (count) => moduleOf({}, custom('n'.repeat(count)))],
  ['customSectionsMax', 'too_many_items', (count) => moduleOf({}, times(count, () => custom('c')).flat())],
  ['functionBytesMax', 'function_too_large', (count) => moduleRunning(repeated(count - 4, 0x01))],
  ['blocksMax', 'too_many_items', (count) => moduleRunning(repeated(count, 0x02, 0x40, 0x0b))],
  [
    'elementItemsMax',
    'too_many_items',
    (count) =>
      moduleOf({
        element: vector([
          [1, 0, 1, 0],
          [1, 0, ...vector(times(count - 1, () => [0]))],
        ]),
      }),
  ],
];

describe('A module at a limit', () => {
  test.each(BOUNDS)('%s is admitted at it and refused above it as %s', (limit, code, build) => {
    const limits = { parametersMax: 10, [limit]: 20 };
    expect(codeOf(build(20), limits)).toBe('ok');
    expect(codeOf(build(21), limits)).toBe(code);
  });
});

describe('A small module that declares large sizes', () => {
  test('50 million locals in less than 100 bytes', () => {
    const bytes = moduleOf({ code: vector([body(ZERO, [[50_000_000, I32]])]) });
    expect(bytes.length).toBeLessThan(100);
    expect(codeOf(bytes)).toBe('too_many_locals');
  });

  test('is refused without spending the time and memory that they cost', () => {
    const startedMs = performance.now();
    for (let round = 0; round < 100; round += 1) {
      codeOf(moduleOf({ code: vector([body(ZERO, [[50_000_000, I32]])]) }));
      codeOf(moduleOf({}, section(10, u32(0xffff_ffff))));
    }
    expect(performance.now() - startedMs).toBeLessThan(1_000);
  });

  test('locals whose sum exceeds 32 bits', () => {
    const bytes = moduleOf({
      code: vector([
        body(
          ZERO,
          times(40, () => [0xffff_ffff, I32] as const),
        ),
      ]),
    });
    expect(codeOf(bytes)).toBe('malformed_wasm');
  });

  test('many functions of many locals each', () => {
    const count = 101;
    const code = vector(times(count, () => body(ZERO, [[49_990, I32]])));
    expect(codeOf(moduleOf({ function: vector(times(count, () => [0])), code }))).toBe('too_many_locals');
  });

  test('100,000 functions', () => {
    expect(codeOf(functions(100_000))).toBe('too_many_functions');
  });

  test('nesting of 100,000 blocks', () => {
    expect(codeOf(moduleRunning(deep(100_000)))).toBe('nesting_too_deep');
    expect(codeOf(moduleRunning(deep(MODULE_BOUNDS.nestingMax)))).toBe('ok');
    expect(codeOf(moduleRunning(deep(MODULE_BOUNDS.nestingMax + 1)))).toBe('nesting_too_deep');
  });

  test.each([1, 2, 3, 6, 7, 9, 10, 11])('section %p that declares four billion items', (id) => {
    expect(codeOf(moduleOf({}, section(id, u32(0xffff_ffff))))).toBe('malformed_wasm');
    expect(codeOf(Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...section(id, u32(0xffff_ffff))]))).toBe(
      'malformed_wasm',
    );
  });

  test('a segment that declares four billion bytes', () => {
    expect(codeOf(moduleOf({ data: [1, 1, ...u32(0xffff_ffff), 0] }))).toBe('malformed_wasm');
  });

  test('a name that declares four billion bytes', () => {
    expect(codeOf(moduleOf({}, section(0, u32(0xffff_ffff))))).toBe('malformed_wasm');
  });

  test('two-byte calls that each push a thousand values', () => {
    const type = vector([HANDLE_TYPE, signature([], repeated(1_000, I32))]);
    const calls = (count: number): Uint8Array =>
      moduleOf({
        type,
        function: vector([[0], [1]]),
        code: vector([body([...repeated(count, 0x10, 0x01), 0x00]), body([0x00])]),
      });
    expect(codeOf(calls(100))).toBe('ok');
    expect(codeOf(calls(10_000))).toBe('function_too_large');
  });

  test.each([
    ['blocks', [0x02, 0x01, 0x00, 0x0b]],
    ['branches', [0x0c, 0x00]],
    ['returns', [0x0f]],
    ['a br_table', [0x0e, 100, ...repeated(100, 0), 0x00]],
  ])('%s of many values', (_, instruction) => {
    const type = vector([HANDLE_TYPE, signature([], repeated(500, I32))]);
    const bytes = (count: number): Uint8Array =>
      moduleOf({
        type,
        export: [0],
        function: [1, 1],
        code: vector([body([0x00, ...repeated(count, ...instruction)])]),
      });
    expect(codeOf(bytes(1), { arityExcessMax: 100_000 })).toBe('ok');
    expect(codeOf(bytes(1_000), { arityExcessMax: 100_000 })).toBe('function_too_large');
  });
});

test('The length of a name is counted in bytes, not in characters', () => {
  expect(text('é')).toHaveLength(3);
  expect(codeOf(moduleOf({}, custom('é'.repeat(10))), { nameBytesMax: 19 })).toBe('name_too_long');
  expect(codeOf(moduleOf({}, custom('é'.repeat(10))), { nameBytesMax: 20 })).toBe('ok');
});
