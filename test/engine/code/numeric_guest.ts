// A guest whose answer holds the result of every numeric instruction on many operands, 16 bytes for each.
import {
  F32,
  F64,
  I32,
  I64,
  moduleOf,
  body,
  HANDLE_TYPE,
  signature,
  u32,
  V128,
  vector,
} from '../../model/wasm/builder.ts';

/** How the result of a case is read: the bits of a NaN are not specified, those of integers are. */
export type Lanes = 'f32' | 'f64' | 'bits';
export type NumericCase = { name: string; lanes: Lanes; code: readonly number[] };

type Type = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';
const STORE: Record<Type, readonly number[]> = {
  i32: [0x36],
  i64: [0x37],
  f32: [0x38],
  f64: [0x39],
  v128: [0xfd, 0x0b],
};
const LOAD: Record<Type, readonly number[]> = {
  i32: [0x28],
  i64: [0x29],
  f32: [0x2a],
  f64: [0x2b],
  v128: [0xfd, 0x00],
};
const CONST: Record<Type, readonly number[]> = {
  i32: [0x41],
  i64: [0x42],
  f32: [0x43],
  f64: [0x44],
  v128: [0xfd, 0x0c],
};
const FLOATS = [NaN, 0, -0, 1, -1.5, 2.5, 255, 3e9, -1e19, Infinity, -Infinity, 5e-324];
const INTEGERS = [0n, 1n, 7n, -1n, -100n, 1n << 31n, 0x1234_5678_9abc_def0n, (1n << 63n) - 1n];
const SLOT_BYTES = 16;
const RESPONSE = 8;
const PATH_LENGTH = 3;
const CASES_PER_FUNCTION = 100;
/** The cases that one request answers: those of the path `/` come first, then those of `//`. */
export const CASES_PER_ANSWER = 2_000;

const bytesOf = (type: Type, value: number | bigint): Uint8Array => {
  if (type === 'v128') return new Uint8Array(16);
  if (type === 'f32') return new Uint8Array(Float32Array.of(Number(value)).buffer);
  if (type === 'f64') return new Uint8Array(Float64Array.of(Number(value)).buffer);
  const wide = new Uint8Array(BigInt64Array.of(BigInt(value)).buffer);
  return type === 'i32' ? wide.slice(0, 4) : wide;
};

const leb = (value: bigint): number[] => {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7n) {
    const low = Number(rest & 0x7fn);
    const isLast = (rest >> 7n === 0n && low < 0x40) || (rest >> 7n === -1n && low >= 0x40);
    bytes.push(isLast ? low : low | 0x80);
    if (isLast) return bytes;
  }
};

/** The operands of the cases, in the memory of the guest from address 0 on. */
class Operands {
  readonly bytes: number[] = [];

  /** Loads the value, which keeps the compiler from computing with it. */
  loaded(type: Type, value: number | bigint): number[] {
    const at = this.bytes.length;
    this.bytes.push(...bytesOf(type, value), ...new Array<number>(8).fill(0));
    return [0x41, 0, ...LOAD[type], 0, ...u32(at)];
  }

  vector(values: readonly number[], type: 'f32' | 'f64'): number[] {
    const at = this.bytes.length;
    for (const value of values) this.bytes.push(...bytesOf(type, value));
    return [0x41, 0, ...LOAD.v128, 0, ...u32(at)];
  }
}

function constant(type: Type, value: number | bigint): number[] {
  if (type === 'i32') return [...CONST.i32, ...leb(BigInt.asIntN(32, BigInt(value)))];
  if (type === 'i64') return [...CONST.i64, ...leb(BigInt(value))];
  return [...CONST[type], ...bytesOf(type, value)];
}

type Op = { name: string; code: readonly number[]; from: Type; to: Type };
const ops = (from: Type, to: Type, first: number, names: string): Op[] =>
  names.split(' ').map((name, at) => ({ name: `${from} ${name}`, code: [first + at], from, to }));
const prefixed = (from: Type, to: Type, first: number, names: string): Op[] =>
  ops(from, to, 0, names).map((op, at) => ({ ...op, code: [0xfc, ...u32(first + at)] }));

const UNARY: readonly Op[] = [
  ...ops('i32', 'i32', 0x67, 'clz ctz popcnt'),
  ...ops('i64', 'i64', 0x79, 'clz ctz popcnt'),
  ...ops('f32', 'f32', 0x8b, 'abs neg ceil floor trunc nearest sqrt'),
  ...ops('f64', 'f64', 0x99, 'abs neg ceil floor trunc nearest sqrt'),
  ...ops('i32', 'f32', 0xb2, 'to_f32_s to_f32_u'),
  ...ops('i64', 'f32', 0xb4, 'to_f32_s to_f32_u'),
  ...ops('f64', 'f32', 0xb6, 'demote'),
  ...ops('i32', 'f64', 0xb7, 'to_f64_s to_f64_u'),
  ...ops('i64', 'f64', 0xb9, 'to_f64_s to_f64_u'),
  ...ops('f32', 'f64', 0xbb, 'promote'),
  ...prefixed('f32', 'i32', 0, 'sat_i32_s sat_i32_u'),
  ...prefixed('f64', 'i32', 2, 'sat_i32_s sat_i32_u'),
  ...prefixed('f32', 'i64', 4, 'sat_i64_s sat_i64_u'),
  ...prefixed('f64', 'i64', 6, 'sat_i64_s sat_i64_u'),
];
const BINARY: readonly Op[] = [
  ...ops('f32', 'f32', 0x92, 'add sub mul div min max copysign'),
  ...ops('f64', 'f64', 0xa0, 'add sub mul div min max copysign'),
];
const DIVISIONS: readonly Op[] = [
  ...ops('i32', 'i32', 0x6d, 'div_s div_u rem_s rem_u'),
  ...ops('i64', 'i64', 0x7f, 'div_s div_u rem_s rem_u'),
];
/** Opcode after 0xfd of lane-wise instructions: unary, then binary. */
const LANES_UNARY: readonly (readonly [string, 'f32' | 'f64', number, Lanes])[] = [
  ...(['ceil', 'floor', 'trunc', 'nearest'] as const).map(
    (name, at) => [`f32x4 ${name}`, 'f32', 0x67 + at, 'f32'] as const,
  ),
  ['f64x2 ceil', 'f64', 0x74, 'f64'],
  ['f64x2 floor', 'f64', 0x75, 'f64'],
  ['f64x2 trunc', 'f64', 0x7a, 'f64'],
  ['f64x2 nearest', 'f64', 0x94, 'f64'],
  ['f32x4 sqrt', 'f32', 0xe3, 'f32'],
  ['f64x2 sqrt', 'f64', 0xef, 'f64'],
  ['f32x4 demote', 'f64', 0x5e, 'f32'],
  ['f64x2 promote', 'f32', 0x5f, 'f64'],
  ['i32x4 sat_s', 'f32', 0xf8, 'bits'],
  ['i32x4 sat_u', 'f32', 0xf9, 'bits'],
  ['i32x4 sat_f64_s', 'f64', 0xfc, 'bits'],
  ['i32x4 sat_f64_u', 'f64', 0xfd, 'bits'],
  ['f32x4 convert_s', 'f32', 0xfa, 'f32'],
  ['f32x4 convert_u', 'f32', 0xfb, 'f32'],
  ['f64x2 convert_s', 'f32', 0xfe, 'f64'],
  ['f64x2 convert_u', 'f32', 0xff, 'f64'],
  ['i8x16 popcnt', 'f32', 0x62, 'bits'],
];
const LANES_BINARY: readonly (readonly [string, 'f32' | 'f64', number])[] = [
  'add',
  'sub',
  'mul',
  'div',
  'min',
  'max',
  'pmin',
  'pmax',
].flatMap((name, at) => [
  [`f32x4 ${name}`, 'f32', 0xe4 + at] as const,
  [`f64x2 ${name}`, 'f64', 0xf0 + at] as const,
]);

const valuesOf = (type: Type): readonly (number | bigint)[] => (type.startsWith('f') ? FLOATS : INTEGERS);
const lanesOf = (type: Type): Lanes => (type === 'f32' || type === 'f64' ? type : 'bits');

const VALUE_TYPES: Record<Type, number> = { i32: I32, i64: I64, f32: F32, f64: F64, v128: V128 };
/** Indices behind those of `handle` and `SUM`, of types and of functions. */
const [FIRST_TYPE, FIRST_FUNCTION] = [3, 2];

/** Functions that hold one instruction each. The compiler inlines them, which changes what it makes of it. */
class Functions {
  readonly types: number[][] = [];
  readonly bodies: number[][] = [];

  /** A call of a function that applies `code` to parameters of these types. */
  call(from: readonly Type[], to: Type, code: readonly number[]): number[] {
    const parameters = from.flatMap((_, index) => [0x20, index]);
    this.types.push(
      signature(
        from.map((type) => VALUE_TYPES[type]),
        [VALUE_TYPES[to]],
      ),
    );
    this.bodies.push(body([...parameters, ...code]));
    return [0x10, ...u32(FIRST_FUNCTION + this.bodies.length - 1)];
  }
}

/** What leads to an operand: the compiler knows it, or knows nothing of it. */
type Source = (type: Type, value: number | bigint) => number[];

class CaseList {
  readonly cases: NumericCase[] = [];

  add(name: string, type: Type, lanes: Lanes, expression: readonly number[]): void {
    const at = (this.cases.length % CASES_PER_ANSWER) * SLOT_BYTES;
    this.cases.push({ name, lanes, code: [0x20, 0, ...expression, ...STORE[type], 0, ...u32(at)] });
  }

  scalars(how: string, left: Source, right: Source): void {
    for (const { name, code, from, to } of UNARY)
      for (const value of valuesOf(from))
        this.add(`${name} ${value} ${how}`, to, lanesOf(to), [...left(from, value), ...code]);
    for (const { name, code, from, to } of BINARY)
      for (const a of FLOATS)
        for (const b of FLOATS)
          this.add(`${name} ${a} ${b} ${how}`, to, lanesOf(to), [
            ...left(from, a),
            ...right(from, b),
            ...code,
          ]);
    for (const { name, code, from, to } of DIVISIONS)
      for (const a of INTEGERS)
        for (const b of [1n, 3n, 1_000_003n, -7n])
          this.add(`${name} ${a} ${b} ${how}`, to, 'bits', [...left(from, a), ...right(from, b), ...code]);
  }

  inlined(operands: Operands, functions: Functions): void {
    for (const { name, code, from, to } of UNARY) {
      const call = functions.call([from], to, code);
      for (const value of valuesOf(from))
        this.add(`inlined ${name} ${value}`, to, lanesOf(to), [...operands.loaded(from, value), ...call]);
    }
    for (const { name, code, from, to } of BINARY) {
      const call = functions.call([from, from], to, code);
      for (const a of FLOATS)
        for (const b of FLOATS) {
          const both = [...operands.loaded(from, a), ...operands.loaded(from, b)];
          this.add(`inlined ${name} ${a} ${b}`, to, lanesOf(to), [...both, ...call]);
        }
    }
    for (const [name, type, code, lanes] of LANES_UNARY) {
      const call = functions.call(['v128'], 'v128', [0xfd, ...u32(code)]);
      for (let at = 0; at < FLOATS.length; at += 4) {
        const values = FLOATS.slice(at, at + 4).concat(0, 0, 0);
        this.add(`inlined ${name} ${at}`, 'v128', lanes, [...operands.vector(values, type), ...call]);
      }
    }
    for (const [name, type, code] of LANES_BINARY) {
      const call = functions.call(['v128', 'v128'], 'v128', [0xfd, ...u32(code)]);
      for (let at = 0; at < FLOATS.length; at += 1) {
        const rotated = [...FLOATS.slice(at), ...FLOATS.slice(0, at)];
        const both = [...operands.vector(FLOATS, type), ...operands.vector(rotated, type)];
        this.add(`inlined ${name} ${at}`, 'v128', type, [...both, ...call]);
      }
    }
  }

  /** `min(max(x, low), high)` and the like, as compilers write them for clamps. */
  clamps(operands: Operands): void {
    for (const type of ['f32', 'f64'] as const) {
      const [min, max] = type === 'f32' ? [0x96, 0x97] : [0xa4, 0xa5];
      const isNumber = type === 'f32' ? 0x5b : 0x61;
      for (const value of FLOATS) {
        const x = operands.loaded(type, value);
        const clamped = [...x, ...constant(type, 0), max, ...constant(type, 255), min];
        this.add(`${type} clamp ${value}`, type, type, clamped);
        this.add(`${type} clamp to i32 ${value}`, 'i32', 'bits', [...clamped, 0xfc, type === 'f32' ? 1 : 3]);
        const other = [...x, ...constant(type, 1), min, ...constant(type, -1), max];
        const chosen = [
          ...x,
          ...x,
          isNumber,
          0x04,
          type === 'f32' ? F32 : F64,
          ...clamped,
          0x05,
          ...other,
          0x0b,
        ];
        this.add(`${type} clamp of a number ${value}`, type, type, chosen);
        this.add(`${type} clamp of a sum ${value}`, type, type, [...clamped, ...other, min, ...x, max]);
      }
      for (const value of INTEGERS) {
        const x = [...operands.loaded('i64', value), type === 'f32' ? 0xb4 : 0xb9];
        this.add(`${type} clamp of i64 ${value}`, type, type, [
          ...x,
          ...constant(type, 0),
          max,
          ...constant(type, 255),
          min,
        ]);
      }
    }
  }

  lanes(operands: Operands): void {
    for (let at = 0; at < FLOATS.length; at += 1) {
      const rotated = [...FLOATS.slice(at), ...FLOATS.slice(0, at)];
      const load = (type: 'f32' | 'f64', from: number): number[] =>
        operands.vector(rotated.slice(from, from + (type === 'f32' ? 4 : 2)), type);
      for (const [name, type, code, lanes] of LANES_UNARY)
        this.add(`${name} ${at}`, 'v128', lanes, [...load(type, 0), 0xfd, ...u32(code)]);
      for (const [name, type, code] of LANES_BINARY)
        for (let from = 0; from < FLOATS.length - 4; from += 1)
          this.add(`${name} ${at} ${from}`, 'v128', type, [
            ...load(type, 0),
            ...load(type, from),
            0xfd,
            ...u32(code),
          ]);
    }
  }

  /** Copies and fills the first bytes of the slot's neighbours, with a length that is known or is not. */
  blocks(operands: Operands): void {
    const at = 400_000;
    for (const length of [
      0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 1_000, 5_000,
    ]) {
      for (let shift = 0; shift < 4; shift += 1) {
        for (const size of [constant('i32', length), operands.loaded('i32', length)]) {
          const to = constant('i32', at + shift);
          const copy = [...to, ...constant('i32', shift * 3), ...size, 0xfc, 0x0a, 0, 0];
          const fill = [
            ...constant('i32', at + shift + 6_000),
            ...constant('i32', length + shift),
            ...size,
            0xfc,
            0x0b,
            0,
          ];
          const sum = [0x41, ...leb(BigInt(at)), 0x10, 1];
          this.add(`copy and fill ${length} ${shift}`, 'i32', 'bits', [...copy, ...fill, ...sum].flat());
        }
      }
    }
  }
}

/** `sum` hashes the 12,000 bytes from its parameter on, which the copies and fills write to. */
const SUM = body(
  [
    [0x03, 0x40, 0x20, 1, 0x41, 31, 0x6c, 0x20, 0, 0x20, 2, 0x6a, 0x2d, 0, 0, 0x6a, 0x21, 1],
    [0x20, 2, 0x41, 1, 0x6a, 0x22, 2, 0x41, ...leb(12_000n), 0x49, 0x0d, 0, 0x0b, 0x20, 1],
  ].flat(),
  [[2, I32]],
);

/** `handle` answers with the results of those `cases`, in their order, that the length of the path names. */
export function numericGuest(options: { inlined: boolean }): {
  module: Uint8Array<ArrayBuffer>;
  cases: readonly NumericCase[];
} {
  const operands = new Operands();
  const functions = new Functions();
  const list = new CaseList();
  const loaded: Source = (type, value) => operands.loaded(type, value);
  list.scalars('loaded', loaded, loaded);
  list.scalars('constant', loaded, constant);
  list.scalars('folded', constant, constant);
  list.clamps(operands);
  if (options.inlined) list.inlined(operands, functions);
  list.lanes(operands);
  list.blocks(operands);
  const { cases } = list;
  const parts: number[][] = [];
  for (let at = 0; at < cases.length; at += CASES_PER_FUNCTION)
    parts.push(body(cases.slice(at, at + CASES_PER_FUNCTION).flatMap(({ code }) => [...code])));
  const firstPart = FIRST_FUNCTION + functions.bodies.length;
  const perAnswer = CASES_PER_ANSWER / CASES_PER_FUNCTION;
  const answers = Array.from({ length: Math.ceil(parts.length / perAnswer) }, (_, answer) => {
    const called = parts.map((_part, at) => at).slice(answer * perAnswer, (answer + 1) * perAnswer);
    const calls = called.flatMap((at) => [0x20, RESPONSE, 0x10, ...u32(at + firstPart)]);
    return [0x20, PATH_LENGTH, 0x41, ...leb(BigInt(answer + 1)), 0x46, 0x04, 0x40, ...calls, 0x0b];
  });
  const handle = body([...answers.flat(), 0x41, ...leb(BigInt(CASES_PER_ANSWER * SLOT_BYTES))]);
  const module = moduleOf({
    type: vector([HANDLE_TYPE, signature([I32], [I32]), signature([I32], []), ...functions.types]),
    function: vector([
      [0],
      [1],
      ...functions.types.map((_, at) => [FIRST_TYPE + at]),
      ...parts.map(() => [2]),
    ]),
    memory: vector([[0x00, 0x08]]),
    code: vector([handle, SUM, ...functions.bodies, ...parts]),
    data: vector([[0x00, 0x41, 0x00, 0x0b, ...u32(operands.bytes.length), ...operands.bytes]]),
  });
  return { module, cases };
}

/** The result of a case as text, with one text for every NaN of a float. */
export function resultOf({ lanes }: NumericCase, answer: Uint8Array, at: number): string {
  const slot = answer.slice(at * SLOT_BYTES, (at + 1) * SLOT_BYTES);
  if (lanes === 'bits') return Buffer.from(slot).toString('hex');
  const values = lanes === 'f32' ? new Float32Array(slot.buffer) : new Float64Array(slot.buffer);
  return [...values].map((value) => (Object.is(value, -0) ? '-0' : `${value}`)).join(' ');
}
