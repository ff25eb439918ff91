// The decoder tells well-formed modules from malformed ones and from those of disabled proposals.
import { describe, expect, test } from 'bun:test';
import { parseModule } from '../../../src/model/wasm/parser/parser.ts';
import {
  EXTERNREF,
  FUNCREF,
  FURNISHED,
  HANDLE_TYPE,
  HEADER,
  I32,
  ZERO,
  body,
  custom,
  exported,
  imported,
  joined,
  moduleOf,
  moduleRunning,
  repeated,
  richModule,
  section,
  signature,
  u32,
  vector,
} from './builder.ts';

const codeOf = (bytes: Uint8Array): string => {
  const result = parseModule(bytes);
  return result.ok ? 'ok' : result.error.code;
};

type Case = [what: string, bytes: Uint8Array<ArrayBuffer>];

const overlong = (value: number): number[] => [value | 0x80, ...repeated(4, 0x80), 0x00];
const typeSection = section(1, vector([HANDLE_TYPE]));

const MALFORMED: Case[] = [
  ['a header cut short', Uint8Array.from(HEADER.slice(0, 7))],
  ['an unknown section', moduleOf({}, section(14, []))],
  ['a section id of 127', moduleOf({}, section(127, []))],
  ['a section past the end', joined([[1, 5, 0]])],
  ['a section size that is overlong', joined([[1, ...overlong(1), 0]])],
  ['a section size that is cut short', joined([[1, 0x80]])],
  ['bytes after the contents of a section', joined([section(1, [...vector([HANDLE_TYPE]), 0])])],
  ['contents that reach past their section', joined([[1, 3, ...vector([HANDLE_TYPE])]])],
  ['the type section twice', joined([typeSection, typeSection])],
  ['sections out of order', joined([section(3, [0]), typeSection])],
  ['data count after code', joined([section(10, [0]), section(12, [0])])],
  ['data count before elements', joined([section(12, [0]), section(9, [0])])],
  ['functions without code', moduleOf({ code: null })],
  ['code without functions', moduleOf({ function: null, export: null })],
  ['more code than functions', moduleOf({ code: vector([body(ZERO), body(ZERO)]) })],
  ['more functions than code', moduleOf({ function: vector([[0], [0]]) })],
  ['a data count without data', moduleOf({ data_count: [1] })],
  ['a data count that differs', moduleOf({ data_count: [2], data: vector([[1, 0]]) })],
  [
    'memory.init without a data count',
    moduleRunning([0x00, 0xfc, 0x08, 0x00, 0x00], { data: vector([[1, 0]]) }),
  ],
  ['data.drop without a data count', moduleRunning([0xfc, 0x09, 0x00], { data: vector([[1, 0]]) })],
  ['a type of another form', moduleOf({ type: vector([[0x61, 0, 0]]) })],
  ['a value type that does not exist', moduleOf({ type: vector([signature([0x01], [])]) })],
  ['an import kind that does not exist', moduleOf({ import: vector([imported('env', 'x', [5, 0])]) })],
  ['an export kind that does not exist', moduleOf({ export: vector([exported('x', 9, 0)]) })],
  ['a name that is not UTF-8', moduleOf({ export: vector([[1, 0xff, 0, 0]]) })],
  ['a custom section without a name', moduleOf({}, section(0, []))],
  ['a custom section whose name is cut short', moduleOf({}, section(0, [5, 0x61]))],
  ['a custom section whose name is not UTF-8', moduleOf({}, section(0, [1, 0xff]))],
  ['memory flags that do not exist', moduleOf({ memory: vector([[0x10, 1]]) })],
  ['memory flags that are overlong', moduleOf({ memory: vector([[0x81, 0x00, 1, 1]]) })],
  ['table flags that do not exist', moduleOf({ table: vector([[FUNCREF, 8, 1]]) })],
  ['a table of numbers', moduleOf({ table: vector([[I32, 0, 1]]) })],
  ['a mutability that does not exist', moduleOf({ global: vector([[I32, 4, ...ZERO, 0x0b]]) })],
  ['element flags that do not exist', moduleOf({ ...FURNISHED, element: vector([[8, 0]]) })],
  ['an element kind that does not exist', moduleOf({ ...FURNISHED, element: vector([[1, 1, 0]]) })],
  ['data flags that do not exist', moduleOf({ data: vector([[3, 0]]) })],
  ['a data segment past the section', moduleOf({ data: vector([[1, ...u32(0xffff_fff0)]]) })],
  ['a body without its end', moduleOf({ code: vector([[3, 0, ...ZERO]]) })],
  ['a block without its end', moduleRunning([0x02, 0x7f])],
  ['an end too many', moduleRunning([...ZERO, 0x0b])],
  ['an else without an if', moduleRunning([0x05])],
  ['an else in a block', moduleRunning([0x02, 0x40, 0x05, 0x0b])],
  ['an else twice', moduleRunning([...ZERO, 0x04, 0x40, 0x05, 0x05, 0x0b])],
  ['a body that is longer than it says', moduleOf({ code: [1, 3, 0, ...ZERO, 0x0b] })],
  ['a body that is shorter than it says', moduleOf({ code: [1, 5, 0, ...ZERO, 0x0b] })],
  ['an opcode that does not exist', moduleRunning([0xff])],
  ['an opcode 0xfc that does not exist', moduleRunning([0xfc, 0x7f])],
  ['an opcode 0xfd that does not exist', moduleRunning([0xfd, 0x9a, 0x01])],
  ['an opcode 0xfc that is overlong', moduleRunning([0xfc, ...overlong(0)])],
  ['an alignment out of range', moduleRunning([0x00, 0x28, 0x20, 0x00])],
  ['a block type that is negative in two bytes', moduleRunning([0x02, 0xc0, 0x7f, 0x0b])],
  ['a block type that is no type', moduleRunning([0x02, 0x41, 0x0b])],
  ['a constant that is too large', moduleRunning([0x41, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x1a])],
  ['a br_table longer than the body', moduleRunning([0x00, 0x0e, ...u32(0xffff_ffff), 0x00])],
  [
    '2^32 locals',
    moduleOf({
      code: vector([
        body(ZERO, [
          [0xffff_ffff, I32],
          [1, I32],
        ]),
      ]),
    }),
  ],
];

describe('A module that is not well formed', () => {
  test.each(MALFORMED)('is refused as malformed: %s', (_, bytes) => {
    expect(codeOf(bytes)).toBe('malformed_wasm');
    expect(WebAssembly.validate(bytes)).toBe(false);
  });

  test('is refused with the offset of the fault', () => {
    const result = parseModule(moduleOf({}, section(14, [])));
    expect(result).toMatchObject({ ok: false, error: { offset: moduleOf().length } });
  });
});

const sharedMemory = vector([[0x03, 0x01, 0x02]]);

const PROPOSALS: Case[] = [
  ['threads: shared memory', moduleOf({ memory: sharedMemory })],
  ['threads: an atomic instruction', moduleRunning([0xfe, 0x03, 0x00])],
  ['memory64: memory', moduleOf({ memory: vector([[0x04, 0x01]]) })],
  ['memory64: table', moduleOf({ table: vector([[FUNCREF, 0x04, 0x01]]) })],
  ['custom page sizes', moduleOf({ memory: vector([[0x08, 0x01, 0x00]]) })],
  [
    'multi-memory: two memories',
    moduleOf({
      memory: vector([
        [0, 1],
        [0, 1],
      ]),
    }),
  ],
  ['multi-memory: memory.size of another', moduleRunning([0x3f, 0x01, 0x1a])],
  ['multi-memory: a load that names its memory', moduleRunning([...ZERO, 0x28, 0x42, 0x00, 0x00, 0x1a])],
  ['multi-memory: data for another memory', moduleOf({ data: vector([[2, 1, ...ZERO, 0x0b, 0]]) })],
  ['exceptions: a tag section', joined([section(13, [0])])],
  ['exceptions: an imported tag', moduleOf({ import: vector([imported('env', 'tag', [4, 0, 0])]) })],
  ['exceptions: an exported tag', moduleOf({ export: vector([exported('tag', 4, 0)]) })],
  ['exceptions: try', moduleRunning([0x06, 0x40, 0x0b])],
  ['exceptions: throw', moduleRunning([0x08, 0x00])],
  ['exceptions: try_table', moduleRunning([0x1f, 0x40, 0x00, 0x0b])],
  ['tail calls', moduleRunning([0x12, 0x00])],
  ['tail calls: indirect', moduleRunning([0x13, 0x00, 0x00])],
  ['typed references: call_ref', moduleRunning([0x14, 0x00])],
  ['typed references: a parameter', moduleOf({ type: vector([signature([0x64, 0x70], [])]) })],
  [
    'typed references: a table with a value',
    moduleOf({ table: vector([[0x40, 0x00, FUNCREF, 0, 1, 0xd0, 0x70, 0x0b]]) }),
  ],
  ['typed references: ref.null of a type', moduleRunning([0xd0, 0x00, 0x1a])],
  ['GC: a struct type', moduleOf({ type: vector([HANDLE_TYPE, [0x5f, 0]]) })],
  ['GC: a recursive group', moduleOf({ type: vector([[0x4e, 1, ...HANDLE_TYPE]]) })],
  ['GC: an instruction', moduleRunning([...ZERO, 0xfb, 0x1c, 0x1a])],
  ['GC: anyref', moduleRunning([0xd0, 0x6e, 0x1a])],
  ['extended-const', moduleOf({ global: vector([[I32, 0, ...ZERO, ...ZERO, 0x6a, 0x0b]]) })],
  [
    'GC: a constant from a global of the module',
    moduleOf({
      global: vector([
        [I32, 0, ...ZERO, 0x0b],
        [I32, 0, 0x23, 0, 0x0b],
      ]),
    }),
  ],
  ['relaxed SIMD', moduleRunning([0x00, 0xfd, 0x80, 0x02])],
];

describe('A module of a proposal that is not enabled', () => {
  test.each(PROPOSALS)('is refused with the name of the proposal: %s', (_, bytes) => {
    expect(codeOf(bytes)).toBe('unsupported_proposal');
  });
});

const INVALID: Case[] = [
  ['a function of a type that is not there', moduleOf({ function: vector([[7]]) })],
  ['an export of a function that is not there', moduleOf({ export: vector([exported('x', 0, 7)]) })],
  ['an export of a table that is not there', moduleOf({ export: vector([exported('x', 1, 0)]) })],
  ['two exports of one name', moduleOf({ export: vector([exported('x', 0, 0), exported('x', 2, 0)]) })],
  ['a call of a function that is not there', moduleRunning([0x10, 0x07])],
  ['a block of a type that is not there', moduleRunning([0x02, 0x07, 0x0b])],
  ['a branch out of the function', moduleRunning([0x0c, 0x01])],
  ['a memory with its maximum below its minimum', moduleOf({ memory: vector([[1, 2, 1]]) })],
  ['an empty constant', moduleOf({ global: vector([[I32, 0, 0x0b]]) })],
  ['a constant that is not constant', moduleOf({ global: vector([[I32, 0, 0x00, 0x0b]]) })],
  ['a constant from a global that is not there', moduleOf({ global: vector([[I32, 0, 0x23, 9, 0x0b]]) })],
];

describe('A module whose indices lead nowhere', () => {
  test.each(INVALID)('is refused as invalid: %s', (_, bytes) => {
    expect(codeOf(bytes)).toBe('invalid_wasm');
    expect(WebAssembly.validate(bytes)).toBe(false);
  });
});

describe('A module of the enabled proposals', () => {
  test('is decoded whole', () => {
    const result = parseModule(richModule());
    if (!result.ok) throw new Error(result.error.message);
    const { module } = result;
    expect(module.functionTypes).toEqual([1, 0, 2]);
    expect(module.importedFunctions).toBe(1);
    expect(module.tables.map(({ min, max }) => [min, max])).toEqual([
      [4, 8],
      [1, null],
    ]);
    expect(module.memories.map(({ min, max }) => [min, max])).toEqual([[1, 2]]);
    expect(module.globals.map(({ mutable }) => mutable)).toEqual([true, false]);
    expect(module.elements.map(({ table, start, count }) => [table, start, count])).toEqual([
      [0, 0, 2],
      [0, null, 1],
      [0, null, 2],
      [0, 2, 1],
      [0, null, 1],
    ]);
    expect(module.data.map(({ start, sizeBytes }) => [start, sizeBytes])).toEqual([
      [8, 5],
      [null, 7],
    ]);
    expect(module.mutatesTables).toBe(true);
    expect(module.sections.map(({ name }) => name)).toEqual([
      'type',
      'import',
      'function',
      'table',
      'memory',
      'global',
      'export',
      'element',
      'data_count',
      'code',
      'data',
    ]);
  });

  test('may consist of nothing but its header', () => {
    expect(codeOf(Uint8Array.from(HEADER))).toBe('ok');
  });

  test('may have custom sections anywhere and integers with leading zeros up to five bytes', () => {
    const long = [1, 0x80 | (HANDLE_TYPE.length + 1), 0x80, 0x80, 0x80, 0x00, ...vector([HANDLE_TYPE])];
    const bytes = joined([custom('a'), long, custom('a', [1, 2, 3]), section(3, [0]), custom('')]);
    expect(codeOf(bytes)).toBe('ok');
    expect(WebAssembly.validate(bytes)).toBe(true);
  });

  test('is marked as changing tables only if an instruction of its does', () => {
    const marks = (instructions: number[]): boolean | string => {
      const result = parseModule(moduleRunning(instructions, FURNISHED));
      return result.ok ? result.module.mutatesTables : result.error.message;
    };
    const passive = [
      [0x25, 0x00],
      [0xfc, 0x10, 0x00],
      [0xfc, 0x08, 0x00, 0x00],
      [0xfc, 0x0b, 0x00],
    ];
    const mutating = [
      [0x26, 0],
      ...[9, 13, 15, 17].map((code) => [0xfc, code, 0]),
      [0xfc, 12, 0, 0],
      [0xfc, 14, 0, 0],
    ];
    const wrong = (instructions: number[][], expected: boolean): number[][] =>
      instructions.filter((instruction) => marks([0x00, ...instruction, 0x00]) !== expected);
    expect(wrong(passive, false)).toEqual([]);
    expect(wrong(mutating, true)).toEqual([]);
  });

  test('may import every kind of item', () => {
    const imports = vector([
      imported('a', 'f', [0, 0]),
      imported('a', 't', [1, EXTERNREF, 0, 1]),
      imported('a', 'm', [2, 0, 1]),
      imported('a', 'g', [3, I32, 0]),
    ]);
    const bytes = joined([
      typeSection,
      section(2, imports),
      section(6, vector([[I32, 0, 0x23, 0x00, 0x0b]])),
    ]);
    const result = parseModule(bytes);
    if (!result.ok) throw new Error(result.error.message);
    expect(result.module.imports.map(({ kind, typeIndex }) => [kind, typeIndex])).toEqual([
      ['function', 0],
      ['table', -1],
      ['memory', -1],
      ['global', -1],
    ]);
    expect(WebAssembly.validate(bytes)).toBe(true);
  });
});
