// Damaged and random modules never throw or hang, and the check is as strict as the engine's validator.
import { describe, expect, test } from 'bun:test';
import { runAtOnce } from '../../../src/base/concurrency.ts';
import fc from 'fast-check';
import { checkModule, type CheckResult } from '../../../src/model/wasm/check.ts';
import { AFTER_FC, AFTER_FD, PLAIN, type Immediates } from '../../../src/model/wasm/parser/instructions.ts';
import { parseModule } from '../../../src/model/wasm/parser/parser.ts';
import { stripCustomSections } from '../../../src/model/wasm/strip.ts';
import { FURNISHED, HEADER, IMMEDIATES, INDICES, moduleRunning, richModule, u32 } from './builder.ts';

const GOOD = richModule();

/** Codes for bytes that every engine refuses; the others are rules of edge. */
const UNIVERSAL: ReadonlySet<string> = new Set([
  'bad_magic',
  'unsupported_wasm_version',
  'component_not_supported',
  'malformed_wasm',
]);

const validate = (bytes: Uint8Array): boolean => WebAssembly.validate(Uint8Array.from(bytes));

const check = (bytes: Uint8Array): CheckResult =>
  checkModule(bytes, { memoryPages: 16, entrypoint: 'handle', typeCheck: validate });

/** What must hold for any bytes. The engine accepts some invalid ones: it does not type unreachable code. */
function agreement(bytes: Uint8Array): string {
  const parsed = parseModule(bytes);
  if (!parsed.ok && UNIVERSAL.has(parsed.error.code) && validate(bytes))
    return `too strict: ${parsed.error.message}`;
  const checked = check(bytes);
  if (checked.ok && !parsed.ok) return 'accepted without being decoded';
  if (checked.ok && !validate(bytes)) return 'accepted without being valid';
  if (parsed.ok && !parseModule(runAtOnce(stripCustomSections(bytes))).ok) return 'stripping broke it';
  return checked.ok ? 'accepted' : 'refused';
}

const flip = (bytes: Uint8Array, at: number, bits: number): Uint8Array => {
  const copy = bytes.slice();
  copy[at] = (copy[at] ?? 0) ^ bits;
  return copy;
};

describe('A good module', () => {
  test('is accepted', () => {
    expect(agreement(GOOD)).toBe('accepted');
  });

  test('is refused at every truncation', () => {
    const accepted = Array.from(GOOD, (_, length) => length).filter(
      (length) => check(GOOD.subarray(0, length)).ok,
    );
    expect(accepted).toEqual([]);
  });

  test('with one more byte at its end is refused', () => {
    for (const byte of [0x00, 0x01, 0x0b, 0x7f, 0xff])
      expect(check(Uint8Array.from([...GOOD, byte])).ok).toBe(false);
  });

  test('with any one byte changed is refused or still valid', () => {
    const outcomes = new Map<string, number>();
    for (let at = 0; at < GOOD.length; at += 1) {
      for (const bits of [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff]) {
        const outcome = agreement(flip(GOOD, at, bits));
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      }
    }
    expect([...outcomes.keys()].toSorted()).toEqual(['accepted', 'refused']);
  });

  test('with a byte removed or inserted is refused or still valid', () => {
    for (let at = 0; at < GOOD.length; at += 1) {
      const without = Uint8Array.from([...GOOD.subarray(0, at), ...GOOD.subarray(at + 1)]);
      const within = Uint8Array.from([...GOOD.subarray(0, at), 0x00, ...GOOD.subarray(at)]);
      for (const bytes of [without, within]) expect(agreement(bytes)).toMatch(/^(accepted|refused)$/);
    }
  });
});

describe('Bytes of a fuzzer', () => {
  const holds = (bytes: Uint8Array): boolean => /^(accepted|refused)$/.test(agreement(bytes));

  test('random bytes, with and without the header', () => {
    const header = Uint8Array.from(HEADER);
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.uint8Array({ maxLength: 200 }).map((tail) => Uint8Array.from([...header, ...tail])),
    );
    fc.assert(fc.property(bytes, holds), { numRuns: 1_000 });
  });

  test('a good module with several bytes replaced', () => {
    const interesting = [
      0x00, 0x01, 0x05, 0x0b, 0x40, 0x60, 0x6f, 0x70, 0x7f, 0x80, 0xfb, 0xfc, 0xfd, 0xfe, 0xff,
    ];
    const byte = fc.oneof(fc.constantFrom(...interesting), fc.integer({ min: 0, max: 255 }));
    const edits = fc.array(fc.tuple(fc.integer({ min: 8, max: GOOD.length - 1 }), byte), {
      minLength: 1,
      maxLength: 4,
    });
    const damaged = edits.map((list) => {
      const copy = GOOD.slice();
      for (const [at, value] of list) copy[at] = value;
      return copy;
    });
    fc.assert(fc.property(damaged, holds), { numRuns: 2_000 });
  });

  test('random instructions in a good body', () => {
    const instructions = fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 40 });
    const bodies = instructions.map((list) => moduleRunning([0x00, ...list], FURNISHED));
    fc.assert(fc.property(bodies, holds), { numRuns: 2_000 });
  });
});

/** Immediates that are in range in the furnished module of builder.ts, by kind. */
const SAMPLES: Partial<Record<Immediates, readonly number[]>> = {
  ...IMMEDIATES,
  ...INDICES,
  block: [0x40, 0x0b],
  br_table: [1, 0, 0],
  select_typed: [1, 0x7f],
};

describe('Every opcode', () => {
  const spaces: [prefix: number[], table: readonly Immediates[], size: number][] = [
    [[], PLAIN, 0x100],
    [[0xfc], AFTER_FC, 40],
    [[0xfd], AFTER_FD, 0x200],
  ];
  const NEEDS_A_BLOCK: ReadonlySet<Immediates> = new Set(['else', 'end', 'prefix_fc', 'prefix_fd']);

  test.each(spaces)(
    'after %p is known to the engine exactly where it is known here',
    (prefix, table, size) => {
      const wrong: string[] = [];
      for (let opcode = 0; opcode < size; opcode += 1) {
        const immediates = table[opcode] ?? 'unknown';
        if (NEEDS_A_BLOCK.has(immediates)) continue;
        const encoded = prefix.length === 0 ? [opcode] : [...prefix, ...u32(opcode)];
        // After `unreachable` every instruction finds its operands.
        const running = [0x00, ...encoded, ...(SAMPLES[immediates] ?? []), 0x00];
        const bytes = moduleRunning(running, FURNISHED);
        const parsed = parseModule(bytes);
        const code = parsed.ok ? 'ok' : parsed.error.code;
        const expected = immediates === 'unknown' ? ['malformed_wasm', 'unsupported_proposal'] : ['ok'];
        const agrees = code === 'unsupported_proposal' || validate(bytes) === parsed.ok;
        if (!expected.includes(code) || !agrees)
          wrong.push(`${encoded.join(' ')}: ${code}, engine ${validate(bytes)}`);
      }
      expect(wrong).toEqual([]);
    },
  );
});
