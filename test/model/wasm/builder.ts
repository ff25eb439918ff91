// Assembles modules byte by byte from hand-written sections, so that a test can get any of them wrong.
import type { Immediates } from '../../../src/model/wasm/parser/instructions.ts';

export const I32 = 0x7f;
export const I64 = 0x7e;
export const F32 = 0x7d;
export const F64 = 0x7c;
export const V128 = 0x7b;
export const FUNCREF = 0x70;
export const EXTERNREF = 0x6f;

export const HEADER: readonly number[] = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];

const SECTION_IDS = {
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  element: 9,
  data_count: 12,
  code: 10,
  data: 11,
} as const;
export type SectionName = keyof typeof SECTION_IDS;

/** The contents of each section, without its length; null leaves the section out. */
export type Parts = Partial<Record<SectionName, readonly number[] | null>>;

export function u32(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  return [...bytes, rest];
}

export const vector = (items: readonly (readonly number[])[]): number[] => [
  ...u32(items.length),
  ...items.flat(),
];

export function text(value: string): number[] {
  const bytes = [...new TextEncoder().encode(value)];
  return [...u32(bytes.length), ...bytes];
}

export const section = (id: number, contents: readonly number[]): number[] => [
  id,
  ...u32(contents.length),
  ...contents,
];

export const custom = (name: string, contents: readonly number[] = []): number[] =>
  section(0, [...text(name), ...contents]);

export const signature = (params: readonly number[], results: readonly number[]): number[] => [
  0x60,
  ...vector(params.map((type) => [type])),
  ...vector(results.map((type) => [type])),
];

export const repeated = (count: number, ...bytes: number[]): number[] =>
  Array.from({ length: count }, () => bytes).flat();

/** Zero for each kind of immediate that is only a number, an index or bytes. */
export const IMMEDIATES: Partial<Record<Immediates, readonly number[]>> = {
  table_init: [0, 0],
  table_copy: [0, 0],
  elem_drop: [0],
  memory: [0],
  memory_copy: [0, 0],
  memory_init: [0, 0],
  data_drop: [0],
  memory_access: [0, 0],
  memory_access_lane: [0, 0, 0],
  lane: [0],
  i32: [0],
  i64: [0],
  f32: repeated(4, 0),
  f64: repeated(8, 0),
  sixteen_bytes: repeated(16, 0),
};

/** The first label, function, local, global and table, and no reference, for each kind that names one. */
export const INDICES: Partial<Record<Immediates, readonly number[]>> = {
  br: [0],
  br_if: [0],
  call: [0],
  call_indirect: [0, 0],
  local_get: [0],
  local_set: [0],
  local_tee: [0],
  global_get: [0],
  global_set: [0],
  table_get: [0],
  table_set: [0],
  table_grow: [0],
  table_size: [0],
  table_fill: [0],
  ref_null: [0x70],
  ref_func: [0],
};

export const HANDLE_TYPE = signature(repeated(10, I32), [I32]);

export const exported = (name: string, kind: number, index: number): number[] => [
  ...text(name),
  kind,
  ...u32(index),
];

export const imported = (module: string, name: string, description: readonly number[]): number[] => [
  ...text(module),
  ...text(name),
  ...description,
];

/** The body of a function with its last `end` added; `locals` are [count, type] pairs. */
export function body(
  instructions: readonly number[],
  locals: readonly (readonly [number, number])[] = [],
): number[] {
  const groups = vector(locals.map(([count, type]) => [...u32(count), type]));
  const contents = [...groups, ...instructions, 0x0b];
  return [...u32(contents.length), ...contents];
}

/** i32.const 0 */
export const ZERO = [0x41, 0x00];

/** The smallest module that is accepted: one page of memory and a `handle` that returns 0. */
const SMALLEST: Parts = {
  type: vector([HANDLE_TYPE]),
  function: vector([[0]]),
  memory: vector([[0x00, 0x01]]),
  export: vector([exported('memory', 2, 0), exported('handle', 0, 0)]),
  code: vector([body(ZERO)]),
};

export const joined = (sections: readonly (readonly number[])[]): Uint8Array<ArrayBuffer> =>
  Uint8Array.from([...HEADER, ...sections.flat()]);

/** The smallest module with some of its parts replaced; `after` follows the last section. */
export function moduleOf(parts: Parts = {}, after: readonly number[] = []): Uint8Array<ArrayBuffer> {
  const merged: Parts = { ...SMALLEST, ...parts };
  const sections = Object.entries(SECTION_IDS).map(([name, id]) => {
    const contents = merged[name as SectionName];
    return contents === undefined || contents === null ? [] : section(id, contents);
  });
  return joined([...sections, after]);
}

/** The smallest module whose `handle` runs `instructions` and then returns 0. */
export function moduleRunning(instructions: readonly number[], parts: Parts = {}): Uint8Array<ArrayBuffer> {
  return moduleOf({ code: vector([body([...instructions, ...ZERO])]), ...parts });
}

/** Parts that put an item at index 0 of every index space, for instructions that name one. */
export const FURNISHED: Parts = {
  table: vector([[FUNCREF, 0x00, 0x04]]),
  global: vector([[I32, 0x01, ...ZERO, 0x0b]]),
  element: vector([[0x01, 0x00, ...vector([[0]])]]),
  data_count: [0x01],
  data: vector([[0x01, 0x02, 0x61, 0x62]]),
};

/** A valid module with every section but start and most kinds of immediates; its last section is needed. */
export function richModule(): Uint8Array<ArrayBuffer> {
  const instructions = [
    [0x02, 0x40, 0x03, 0x7f, 0x41, 0x00, 0x0d, 0x00, 0x41, 0x2a, 0x0b, 0x1a, 0x0b], // block, loop, br_if
    [0x41, 0x01, 0x04, 0x7f, 0x41, 0xff, 0x00, 0x05, 0x41, 0x80, 0x7f, 0x0b, 0x1a], // if, else
    [0x02, 0x40, 0x02, 0x40, 0x41, 0x01, 0x0e, 0x01, 0x00, 0x01, 0x0b, 0x0b], // br_table
    [0x02, 0x03, 0x42, 0x80, 0x80, 0x04, 0x43, 0, 0, 0x80, 0x3f, 0x0b, 0x1a, 0x1a], // two results
    [0x41, 0x00, 0x28, 0x02, 0x10, 0x1a, 0x3f, 0x00, 0x40, 0x00, 0x1a], // i32.load, memory.size, grow
    [0x41, 0x00, 0x41, 0x00, 0x11, 0x02, 0x00, 0x1a], // call_indirect
    [0x44, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0xfc, 0x02, 0xc0, 0x1a], // i32.trunc_sat_f64_s, i32.extend8_s
    [0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 0x08, 0x01, 0x00, 0xfc, 0x09, 0x01], // memory.init, data.drop
    [0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 0x0a, 0x00, 0x00, 0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 0x0b, 0x00],
    [0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 0x0c, 0x01, 0x00, 0xfc, 0x0d, 0x01], // table.init, elem.drop
    [0xd0, 0x70, 0xd1, 0x1a, 0xd2, 0x01, 0x1a, 0xd0, 0x6f, 0xd0, 0x6f, 0x41, 0, 0x1c, 0x01, 0x6f, 0x1a],
    [0xfd, 0x0c, ...repeated(16, 7), 0xfd, 0x15, 0x0f, 0x24, 0x00, 0x23, 0x00, 0x21, 0x0a], // v128
    [0x20, 0x0a],
  ].flat();
  return moduleOf({
    type: vector([
      HANDLE_TYPE,
      signature([I32, I32], [I32]),
      signature([I32], [I32]),
      signature([], [I64, F32]),
    ]),
    import: vector([imported('wasi_snapshot_preview1', 'random_get', [0x00, 0x01])]),
    function: vector([[0], [2]]),
    table: vector([
      [FUNCREF, 0x01, 0x04, 0x08],
      [EXTERNREF, 0x00, 0x01],
    ]),
    memory: vector([[0x01, 0x01, 0x02]]),
    global: vector([
      [I32, 0x01, ...ZERO, 0x0b],
      [F64, 0x00, 0x44, ...repeated(8, 0), 0x0b],
    ]),
    export: vector([
      exported('memory', 2, 0),
      exported('handle', 0, 1),
      exported('alloc', 0, 2),
      exported('table', 1, 0),
      exported('counter', 3, 0),
    ]),
    element: vector([
      [0x00, ...ZERO, 0x0b, ...vector([[1], [2]])],
      [0x01, 0x00, ...vector([[0]])],
      [
        0x05,
        FUNCREF,
        ...vector([
          [0xd2, 0x01, 0x0b],
          [0xd0, 0x70, 0x0b],
        ]),
      ],
      [0x02, 0x00, 0x41, 0x02, 0x0b, 0x00, ...vector([[1]])],
      [0x03, 0x00, ...vector([[2]])],
    ]),
    data_count: u32(2),
    code: vector([
      body(instructions, [
        [1, I32],
        [2, V128],
        [1, EXTERNREF],
      ]),
      body([0x20, 0x00]),
    ]),
    data: vector([
      [0x00, 0x41, 0x08, 0x0b, ...text('hello')],
      [0x01, ...text('passive')],
    ]),
  });
}
