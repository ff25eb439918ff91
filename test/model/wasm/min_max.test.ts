// The minimum and the maximum of floats as functions of the module: the same results, nothing else changed.
import { describe, expect, test } from 'bun:test';
import { runAtOnce } from '../../../src/base/concurrency.ts';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { AFTER_FC, AFTER_FD, PLAIN, type Immediates } from '../../../src/model/wasm/parser/instructions.ts';
import { parseModule } from '../../../src/model/wasm/parser/parser.ts';
import { ModuleReader } from '../../../src/model/wasm/parser/reader.ts';
import { skipInstruction } from '../../../src/model/wasm/parser/walk.ts';
import { replaceMinMax } from '../../../src/model/wasm/min_max.ts';
import {
  body,
  exported,
  F32,
  F64,
  HANDLE_TYPE,
  I32,
  IMMEDIATES,
  INDICES,
  imported,
  moduleOf,
  moduleRunning,
  richModule,
  signature,
  u32,
  vector,
  ZERO,
} from './builder.ts';

const FLOATS = [NaN, 0, -0, 1, -1, 1.5, 255, 3.4e38, -1e300, 5e-324, Infinity, -Infinity];
const validates = (bytes: Uint8Array): boolean => WebAssembly.validate(Uint8Array.from(bytes));

/** A module that exports each instruction as a function of two floats; an import stands before them. */
const OPERATIONS: readonly [name: string, type: number, opcode: number][] = [
  ['f32.min', F32, 0x96],
  ['f32.max', F32, 0x97],
  ['f64.min', F64, 0xa4],
  ['f64.max', F64, 0xa5],
];
const guest = moduleOf({
  type: vector([
    HANDLE_TYPE,
    signature([I32], []),
    signature([F32, F32], [F32]),
    signature([F64, F64], [F64]),
  ]),
  import: vector([imported('env', 'any', [0x00, 0x01])]),
  function: vector([[0], ...OPERATIONS.map(([, type]) => [type === F32 ? 2 : 3])]),
  export: vector([
    exported('memory', 2, 0),
    exported('handle', 0, 1),
    ...OPERATIONS.map(([name], at) => exported(name, 0, at + 2)),
  ]),
  code: vector([body(ZERO), ...OPERATIONS.map(([, , opcode]) => body([0x20, 0, 0x20, 1, opcode]))]),
});

function run(bytes: Uint8Array, name: string, a: number, b: number): number {
  const module = new WebAssembly.Module(Uint8Array.from(bytes));
  const found = new WebAssembly.Instance(module, { env: { any: () => undefined } }).exports[name];
  if (typeof found !== 'function') throw new Error(`${name} is not exported`);
  return Number(found(a, b));
}

describe('A module without minimum and maximum', () => {
  test('stays the very same', () => {
    for (const bytes of [moduleOf(), richModule()]) expect(runAtOnce(replaceMinMax(bytes))).toBe(bytes);
  });

  test('stays the very same where only constants look like one', () => {
    const constants = [0x44, 0xa4, 0xa5, 0x96, 0x97, 0xa4, 0xa5, 0x96, 0x97, 0x1a, 0x41, 0xa4, 0x01, 0x1a];
    const bytes = moduleRunning([...constants, 0x43, 0x96, 0x97, 0xa4, 0xa5, 0x1a]);
    expect(runAtOnce(replaceMinMax(bytes))).toBe(bytes);
  });
});

describe('A module with them', () => {
  const replaced = runAtOnce(replaceMinMax(guest));

  test.each(OPERATIONS)('computes the same for every pair: %s', (name) => {
    for (const a of FLOATS)
      for (const b of FLOATS) expect(run(replaced, name, a, b)).toBe(run(guest, name, a, b));
  });

  test('is accepted, has four functions more, and nothing left to replace', () => {
    const [before, after] = [parseModule(guest), parseModule(replaced)];
    if (!before.ok || !after.ok) throw new Error('a module was refused');
    expect(after.module.functionTypes.length).toBe(before.module.functionTypes.length + 4);
    expect(after.module.exports).toMatchObject(
      before.module.exports.map(({ index, kind, name }) => ({ index, kind, name })),
    );
    expect(runAtOnce(replaceMinMax(replaced))).toBe(replaced);
  });

  test('gets only the functions that it needs, at indices of any length', () => {
    const pair = [0x43, 0, 0, 0, 0, 0x43, 0, 0, 0, 0];
    const bodies = [body([...pair, 0x96, 0x1a, ...ZERO]), ...Array.from({ length: 200 }, () => body(ZERO))];
    const bytes = moduleOf({ function: vector(bodies.map(() => [0])), code: vector(bodies) });
    const parsed = parseModule(runAtOnce(replaceMinMax(bytes)));
    expect(parsed.ok && parsed.module.functionTypes.length).toBe(202);
  });

  test('keeps its custom sections and everything behind its code', () => {
    const extra = [0, 5, 4, ...Buffer.from('name')];
    const bytes = moduleOf(
      { code: vector([body([0x43, 0, 0, 0, 0, 0x43, 0, 0, 0, 0, 0x97, 0x1a, ...ZERO])]) },
      extra,
    );
    const changed = runAtOnce(replaceMinMax(bytes));
    expect(validates(changed)).toBe(true);
    expect([...changed.subarray(-extra.length)]).toEqual(extra);
  });
});

test('Every guest of the fixtures stays valid', () => {
  const fixtures = join(import.meta.dir, '../../../fixtures');
  let changed = 0;
  for (const name of readdirSync(fixtures, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.wasm') || !statSync(join(fixtures, name)).isFile()) continue;
    const bytes = new Uint8Array(readFileSync(join(fixtures, name)));
    const parsed = parseModule(bytes);
    if (!parsed.ok || parsed.module.imports.some(({ kind }) => kind !== 'function')) continue;
    changed += 1;
    expect(validates(runAtOnce(replaceMinMax(bytes)))).toBe(validates(bytes));
  }
  expect(changed).toBeGreaterThan(10);
});

describe('The walk', () => {
  const prefixes: [string, readonly Immediates[], readonly number[]][] = [
    ['', PLAIN, []],
    ['0xfc', AFTER_FC, [0xfc]],
    ['0xfd', AFTER_FD, [0xfd]],
  ];
  const SAMPLES: Partial<Record<Immediates, readonly number[]>> = {
    ...IMMEDIATES,
    ...INDICES,
    block: [0x40],
    br_table: [2, 0, 0, 0],
    select_typed: [1, F64],
  };

  test.each(prefixes)('moves over every instruction and its immediates: %s', (_, kinds, prefix) => {
    kinds.forEach((immediates, opcode) => {
      if (immediates === 'unknown' || immediates.startsWith('prefix')) return;
      const code = prefix.length === 0 ? [opcode] : [...prefix, ...u32(opcode)];
      const whole = Uint8Array.from([...code, ...(SAMPLES[immediates] ?? [])]);
      const reader = new ModuleReader(whole);
      expect(skipInstruction(reader)).toBe(prefix[0] ?? opcode);
      expect(reader.position).toBe(whole.length);
    });
  });
});
