// The check of an upload refuses with one code per rule, and reports on what it accepts.
import { describe, expect, test } from 'bun:test';
import { Value } from '@sinclair/typebox/value';
import { checkModule } from '../../../src/model/wasm/check.ts';
import { ModuleReport } from '../../../src/model/wasm/report.ts';
import {
  EXTERNREF,
  FUNCREF,
  HANDLE_TYPE,
  HEADER,
  I32,
  I64,
  ZERO,
  body,
  custom,
  exported,
  moduleOf,
  moduleRunning,
  repeated,
  richModule,
  signature,
  text,
  vector,
} from './builder.ts';

type Fault = { code: string; message: string; offset?: number; export?: string };

const OPTIONS = {
  memoryPages: 16,
  entrypoint: 'handle',
  typeCheck: (bytes: Uint8Array): boolean => WebAssembly.validate(Uint8Array.from(bytes)),
};

function faultOf(bytes: Uint8Array, options: Partial<typeof OPTIONS> = {}): Fault | undefined {
  const result = checkModule(bytes, { ...OPTIONS, ...options });
  return result.ok ? undefined : result.error;
}

function reportOf(bytes: Uint8Array): ModuleReport {
  const result = checkModule(bytes, OPTIONS);
  if (!result.ok) throw new Error(result.error.message);
  return result.report;
}

const version = (...word: number[]): Uint8Array => Uint8Array.from([...HEADER.slice(0, 4), ...word]);

describe('Bytes that are not a core module of version 1', () => {
  test.each([
    ['no bytes', new Uint8Array(0), 'bad_magic'],
    ['a part of the magic', Uint8Array.from([0x00, 0x61, 0x73]), 'bad_magic'],
    ['an ELF file', Uint8Array.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0]), 'bad_magic'],
    ['text', new TextEncoder().encode('(module)'), 'bad_magic'],
    ['version 2', version(2, 0, 0, 0), 'unsupported_wasm_version'],
    ['version 0', version(0, 0, 0, 0), 'unsupported_wasm_version'],
    ['version 1 in the wrong order', version(0, 0, 0, 1), 'unsupported_wasm_version'],
    ['version 257', version(1, 1, 0, 0), 'unsupported_wasm_version'],
    ['a component', version(0x0d, 0, 1, 0), 'component_not_supported'],
    ['a component of an older draft', version(0x0a, 0, 1, 0), 'component_not_supported'],
    ['half a version', version(1, 0), 'malformed_wasm'],
  ])('%s', (_, bytes, code) => {
    expect(faultOf(bytes)?.code).toBe(code);
  });
});

describe('A custom section named wasmedge', () => {
  const name = 'wasmedge';

  test('is refused as the first section, in between and as the last, with its offset', () => {
    const good = [...moduleOf()].slice(HEADER.length);
    const front = Uint8Array.from([...HEADER, ...custom(name), ...good]);
    expect(faultOf(front)).toMatchObject({ code: 'aot_section_forbidden', offset: HEADER.length + 2 });
    expect(faultOf(moduleOf({}, custom(name, [1, 2, 3])))?.code).toBe('aot_section_forbidden');
    const typeEnd = 2 + vector([HANDLE_TYPE]).length;
    const between = [...HEADER, ...good.slice(0, typeEnd), ...custom(name), ...good.slice(typeEnd)];
    expect(faultOf(Uint8Array.from(between))?.code).toBe('aot_section_forbidden');
  });

  test('is recognized by exactly that name', () => {
    for (const other of ['wasmedge2', 'WasmEdge', 'wasmedg', '.wasmedge', 'wasmedge\0']) {
      expect(faultOf(moduleOf({}, custom(other)))).toBeUndefined();
    }
  });
});

describe('The memory of a module', () => {
  const exports = (...items: number[][]): number[] => vector([...items, exported('handle', 0, 0)]);

  test.each([
    ['no memory', { memory: null, export: exports() }, 'memory_missing'],
    ['a memory that is not exported', { export: exports() }, 'memory_missing'],
    ['a memory exported under another name', { export: exports(exported('mem', 2, 0)) }, 'memory_missing'],
    ['something else exported as memory', { export: exports(exported('memory', 0, 0)) }, 'memory_missing'],
    ['more than memory_pages', { memory: vector([[0, 17]]) }, 'memory_min_exceeds_limit'],
    ['as much as there can be', { memory: vector([[0, 0x80, 0x80, 0x04]]) }, 'memory_min_exceeds_limit'],
  ])('%s is refused', (_, parts, code) => {
    expect(faultOf(moduleOf(parts))?.code).toBe(code);
  });

  test('may have exactly memory_pages, and a maximum above it', () => {
    expect(reportOf(moduleOf({ memory: vector([[1, 16, 0x80, 0x02]]) })).memory).toEqual({
      min_pages: 16,
      max_pages: 256,
    });
  });
});

describe('A table', () => {
  test('is refused above the limit and admitted at it', () => {
    const table = (size: number[]): number[] =>
      vector([
        [FUNCREF, 0, 1],
        [FUNCREF, 0, ...size],
      ]);
    const past = faultOf(moduleOf({ table: table([0xa1, 0x8d, 0x06]) }));
    expect(past).toMatchObject({ code: 'table_too_large', message: expect.stringContaining('100001') });
    expect(faultOf(moduleOf({ table: table([0xa0, 0x8d, 0x06]) }))).toBeUndefined();
    expect(faultOf(moduleOf({ table: table([0xff, 0xff, 0xff, 0xff, 0x0f]) }))?.code).toBe('table_too_large');
  });
});

describe('A segment with a constant offset', () => {
  const data = (offset: number[], length: number): Uint8Array =>
    moduleOf({ data: vector([[0, 0x41, ...offset, 0x0b, ...text('x'.repeat(length))]]) });
  const element = (offset: number): Uint8Array =>
    moduleOf({
      table: vector([[FUNCREF, 0, 2]]),
      element: vector([[0, 0x41, offset, 0x0b, ...vector([[0]])]]),
    });

  test('is refused outside of the initial memory', () => {
    const last = [0xff, 0xff, 0x03];
    const end = [0x80, 0x80, 0x04];
    expect(faultOf(data(last, 1))).toBeUndefined();
    expect(faultOf(data(last, 2))).toMatchObject({ code: 'data_out_of_bounds', offset: expect.any(Number) });
    expect(faultOf(data(end, 0))).toBeUndefined();
    expect(faultOf(data([0x7f], 1))?.code).toBe('data_out_of_bounds');
  });

  test('is refused outside of its table', () => {
    expect(faultOf(element(1))).toBeUndefined();
    expect(faultOf(element(2))).toMatchObject({ code: 'element_out_of_bounds', offset: expect.any(Number) });
    expect(faultOf(element(0x7f))?.code).toBe('element_out_of_bounds');
  });

  test('is checked against its own table', () => {
    const table = vector([
      [FUNCREF, 0, 4],
      [FUNCREF, 0, 1],
    ]);
    const into = (index: number): Uint8Array =>
      moduleOf({ table, element: vector([[2, index, 0x41, 3, 0x0b, 0, ...vector([[0]])]]) });
    expect(faultOf(into(0))).toBeUndefined();
    expect(faultOf(into(1))?.code).toBe('element_out_of_bounds');
  });

  test('is not checked if it is passive', () => {
    const passive = moduleOf({ data_count: [1], data: vector([[1, ...text('x'.repeat(70_000))]]) });
    expect(faultOf(passive)).toBeUndefined();
  });
});

describe('The entrypoint', () => {
  const memory = exported('memory', 2, 0);
  const command = exported('_start', 0, 0);
  const handle = exported('handle', 0, 0);
  const typed = (params: number[], results: number[]): Uint8Array =>
    moduleOf({ type: vector([signature(params, results)]), code: vector([body([0x00])]) });

  test('is refused when it is not exported', () => {
    expect(faultOf(moduleOf({ export: vector([memory]) }))).toMatchObject({
      code: 'entrypoint_missing',
      export: 'handle',
    });
    expect(faultOf(moduleOf(), { entrypoint: 'other' })).toMatchObject({ export: 'other' });
  });

  test.each([
    ['nine parameters', repeated(9, I32), [I32]],
    ['eleven parameters', repeated(11, I32), [I32]],
    ['no result', repeated(10, I32), []],
    ['two results', repeated(10, I32), [I32, I32]],
    ['an i64 among its parameters', [...repeated(9, I32), I64], [I32]],
    ['an i64 as its result', repeated(10, I32), [I64]],
  ])('is refused with %s', (_, params, results) => {
    expect(faultOf(typed(params, results))).toMatchObject({ code: 'entrypoint_signature', export: 'handle' });
  });

  test('is refused when it is no function', () => {
    const fault = faultOf(moduleOf({ export: vector([memory, exported('handle', 2, 0)]) }));
    expect(fault?.code).toBe('entrypoint_signature');
  });

  test('beside _start is ambiguous; _start alone is another ABI', () => {
    expect(faultOf(moduleOf({ export: vector([memory, handle, command]) }))?.code).toBe('abi_ambiguous');
    expect(faultOf(moduleOf({ export: vector([memory, command]) }))).toMatchObject({
      code: 'abi_not_supported',
      message: expect.stringContaining('WASI command'),
    });
    const global = vector([[I32, 0, ...ZERO, 0x0b]]);
    const named = vector([memory, handle, exported('_start', 3, 0)]);
    expect(faultOf(moduleOf({ export: named, global }))).toBeUndefined();
  });
});

describe('The type checker', () => {
  test('gets only modules that passed everything else', () => {
    const seen: number[] = [];
    const typeCheck = (bytes: Uint8Array): boolean => seen.push(bytes.length) < 0;
    expect(faultOf(moduleOf({ memory: vector([[0, 17]]) }), { typeCheck })?.code).toBe(
      'memory_min_exceeds_limit',
    );
    expect(faultOf(moduleOf({}, [1]), { typeCheck })?.code).toBe('malformed_wasm');
    expect(faultOf(moduleOf({ export: vector([exported('memory', 2, 0)]) }), { typeCheck })?.code).toBe(
      'entrypoint_missing',
    );
    expect(seen).toEqual([]);
    expect(faultOf(moduleOf(), { typeCheck })?.code).toBe('invalid_wasm');
    expect(seen).toEqual([moduleOf().length]);
  });

  test('refuses what does not type-check', () => {
    expect(faultOf(moduleRunning([0x42, 0x00, 0x42, 0x00, 0x6a, 0x1a]))?.code).toBe('invalid_wasm');
    expect(faultOf(moduleRunning([0x20, 0x63, 0x1a]))?.code).toBe('invalid_wasm');
  });
});

describe('The report of an accepted module', () => {
  test('lists what the module holds and fits its schema', () => {
    const report = reportOf(richModule());
    expect(Value.Check(ModuleReport, report)).toBe(true);
    expect(report).toMatchObject({
      abi: 'handle',
      entrypoint: 'handle',
      allocator: 'alloc',
      memory: { min_pages: 1, max_pages: 2 },
      imports: [{ module: 'wasi_snapshot_preview1', name: 'random_get' }],
      exports: ['memory', 'handle', 'alloc', 'table', 'counter'],
      exports_count: 5,
      functions: 2,
      globals: 2,
      mutable_globals: 1,
      tables: 2,
      mutates_tables: true,
      has_start: false,
      has_initialize: false,
      size_bytes: richModule().length,
      custom_sections: [],
    });
    expect(report.sections.find(({ name }) => name === 'data_count')).toEqual({
      name: 'data_count',
      size_bytes: 1,
    });
  });
});

describe('The allocator in the report', () => {
  const i = (count: number): number[] => repeated(count, I32);
  const ALLOCATORS: [string, number[], number[]][] = [
    ['alloc', i(1), i(1)],
    ['malloc', i(1), i(1)],
    ['cabi_realloc', i(4), i(1)],
    ['__new', i(2), i(1)],
  ];
  const withAllocators = (names: [string, number[], number[]][]): Uint8Array =>
    moduleOf({
      type: vector([HANDLE_TYPE, ...names.map(([, params, results]) => signature(params, results))]),
      function: vector([[0], ...names.map((_, index) => [index + 1])]),
      code: vector([body(ZERO), ...names.map(() => body([0x00]))]),
      export: vector([
        exported('memory', 2, 0),
        exported('handle', 0, 0),
        ...names.map(([name], index) => exported(name, 0, index + 1)).toReversed(),
      ]),
    });

  test('names the first allocator that fits, whatever the order of exports', () => {
    for (const first of [0, 1, 2, 3]) {
      const names = ALLOCATORS.slice(first);
      expect(reportOf(withAllocators(names)).allocator).toBe(names[0]?.[0] as ModuleReport['allocator']);
    }
    expect(reportOf(moduleOf()).allocator).toBe('none');
  });

  test('skips an allocator of a wrong signature', () => {
    expect(
      reportOf(
        withAllocators([
          ['alloc', i(2), i(1)],
          ['malloc', i(1), i(1)],
        ]),
      ).allocator,
    ).toBe('malloc');
    expect(reportOf(withAllocators([['alloc', i(1), []]])).allocator).toBe('none');
  });
});

describe('The counts in the report', () => {
  test('say whether there is a start section and a reactor', () => {
    const parts = {
      type: vector([HANDLE_TYPE, signature([], [])]),
      function: vector([[0], [1]]),
      code: vector([body(ZERO), body([])]),
      export: vector([exported('memory', 2, 0), exported('handle', 0, 0), exported('_initialize', 0, 1)]),
    };
    expect(reportOf(moduleOf({ ...parts, start: [1] }))).toMatchObject({
      has_start: true,
      has_initialize: true,
    });
    const odd = vector([exported('memory', 2, 0), exported('handle', 0, 0), exported('_initialize', 0, 0)]);
    expect(reportOf(moduleOf({ ...parts, export: odd }))).toMatchObject({
      has_start: false,
      has_initialize: false,
    });
  });

  test('list the first exports and custom sections, and count all of them', () => {
    const many = Array.from({ length: 300 }, (_, index) => exported(`e${index}`, 0, 0));
    const customs = Array.from({ length: 300 }, (_, index) => custom(`c${index}`, [index % 256])).flat();
    const parts = { export: vector([exported('memory', 2, 0), exported('handle', 0, 0), ...many]) };
    const report = reportOf(moduleOf(parts, customs));
    expect(report.exports).toHaveLength(100);
    expect(report.exports_count).toBe(302);
    expect(report.custom_sections).toHaveLength(100);
    expect(report.custom_sections_count).toBe(300);
    expect(report.custom_sections[0]).toEqual({ name: 'c0', size_bytes: 4 });
    expect(Value.Check(ModuleReport, report)).toBe(true);
  });

  test('count tables that no instruction changes', () => {
    const report = reportOf(moduleOf({ table: vector([[EXTERNREF, 0, 3]]) }));
    expect(report).toMatchObject({ tables: 1, mutates_tables: false });
  });
});
