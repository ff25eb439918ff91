// Compiled code that is not complete is never loaded: planted faults, damaged files, and what packing keeps.
import { describe, expect, test } from 'bun:test';
import { runAtOnce } from '../../../src/base/concurrency.ts';
import { incompleteness } from '../../../src/engine/code/complete.ts';
import { ELF, readElf } from '../../../src/engine/code/elf.ts';
import { packCode } from '../../../src/engine/code/pack.ts';
import { objectOf, SYMBOLS, type TestObject, TEXT } from './object.ts';

const HEADER = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
/** With one type and one function. */
const MODULE = Uint8Array.from([...HEADER, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0]);
/** The same behind so many imported functions. */
const importing = (imports: number): Uint8Array => {
  const items = Array.from({ length: imports }, () => [1, 0x61, 1, 0x62, 0, 0]).flat();
  return Uint8Array.from([...MODULE.subarray(0, 14), 2, items.length + 1, imports, ...items, 3, 2, 1, 0]);
};
const fault = (object: Uint8Array, architecture = 'x64', module: Uint8Array = MODULE): string | null => {
  const packed = runAtOnce(packCode(module, object, architecture));
  return packed.ok ? null : packed.fault;
};

const relocations = (type: number): TestObject => ({
  sections: { '.rela.dyn': { type, flags: 2, address: 0x500, bytes: new Uint8Array(24), entryBytes: 24 } },
});
const dynamic = (tag: number): TestObject => ({
  dynamic: [
    [5, 0],
    [tag, 1],
  ],
});
const data = (address: number): TestObject => ({
  sections: { '.data': { type: 1, flags: 3, address, bytes: new Uint8Array(8) } },
});
const symbol = (changes: Partial<(typeof SYMBOLS)[number]>): TestObject => ({
  symbols: [...SYMBOLS, { name: 'fmin', section: '.text', type: 2, address: 0x1008, size: 1, ...changes }],
});
const without = (name: string): TestObject => ({ symbols: SYMBOLS.filter((one) => one.name !== name) });
const moved = (name: string, changes: Partial<(typeof SYMBOLS)[number]>): TestObject => ({
  symbols: SYMBOLS.map((one) => (one.name === name ? { ...one, ...changes } : one)),
});

describe('A complete object', () => {
  test('becomes its module and one custom section of what stands in memory', () => {
    const packed = runAtOnce(packCode(MODULE, objectOf(), 'x64'));
    expect(packed.ok && [...packed.code.subarray(MODULE.length)]).toEqual(
      [
        [0, 65, 8, ...Buffer.from('wasmedge'), 1, 1, 1],
        [0x80, 8, 0x80, 0x40], // the addresses 0x400 and 0x2000
        [1, 0x80, 0x20, 1, 0x84, 0x20], // one type, one function
        [4],
        [2, 0x80, 8, 4, 4, 1, 0, 0, 0],
        [2, 0x88, 8, 2, 2, 7, 7], // not the copy of the module between them
        [1, 0x80, 0x20, 16, 16, ...Array.from({ length: 16 }, () => 0xc3)],
        [3, 0x80, 0x40, 8, 0],
      ].flat(),
    );
  });

  test('is accepted for arm64 there, and for no other processor', () => {
    expect(fault(objectOf({ machine: 183 }), 'arm64')).toBeNull();
    expect(fault(objectOf({ machine: 183 }))).toBe('it is for another processor');
    expect(fault(objectOf(), 'mips')).toBe('the processor of this machine is unknown');
  });

  const numbered = (...names: string[]): Uint8Array =>
    objectOf({
      symbols: SYMBOLS.flatMap((one) =>
        one.name === 'f0' ? names.map((name) => ({ ...one, name })) : [one],
      ),
    });

  test('keeps the numbers of functions behind those of its imports', () => {
    expect(fault(numbered('f7'), 'x64', importing(7))).toBeNull();
  });

  test.each([[['f0', 'f7']], [['f6', 'f7']], [['f0', 'f2', 'f7']]])(
    'has none of the code that the compiler left for imports: %p',
    (names) => {
      const bare = packCode(importing(7), numbered('f7'), 'x64');
      expect(packCode(importing(7), numbered(...names), 'x64')).toEqual(bare);
    },
  );

  test('is refused where it has no code for a type of the module', () => {
    const module = Uint8Array.from([...HEADER, 1, 7, 2, 0x60, 0, 0, 0x60, 0, 0, 3, 2, 1, 0]);
    expect(fault(objectOf(), 'x64', module)).toContain('is missing');
  });

  test.each([
    [['f6'], 7],
    [['f7', 'f8'], 7],
    [['f8'], 7],
  ])('is refused where its functions %p are not those of the module', (names, imports) => {
    expect(fault(numbered(...names), 'x64', importing(imports))).toContain('is missing');
  });
});

describe('An object is refused', () => {
  test.each<[string, TestObject, string]>([
    ['an undefined symbol', symbol({ section: 0, address: 0, size: 0 }), 'the symbol fmin is undefined'],
    ['an indirect function', symbol({ type: 10 }), 'the symbol fmin has the type 10'],
    ['a symbol of threads', symbol({ type: 6 }), 'the symbol fmin has the type 6'],
    ['a common symbol', symbol({ section: 0xfff2 }), 'the symbol fmin is in no section'],
    ['a symbol beyond its section', symbol({ address: 0x100f, size: 2 }), 'lies outside of its section'],
    ['a symbol before its section', symbol({ address: 0xfff, size: 2 }), 'lies outside of its section'],
    ['a symbol of no section', symbol({ section: 99 }), 'lies outside of its section'],
    ['a needed library', dynamic(1), 'a library that it needs'],
    ['DT_INIT', dynamic(12), 'a constructor'],
    ['DT_INIT_ARRAY', dynamic(25), 'constructors'],
    ['DT_PREINIT_ARRAY', dynamic(32), 'constructors'],
    ['DT_FINI', dynamic(13), 'a destructor'],
    ['DT_FINI_ARRAY', dynamic(26), 'destructors'],
    ['DT_TEXTREL', dynamic(22), 'relocations of its text'],
    ['DT_RELA', dynamic(7), 'relocations'],
    ['DT_REL', dynamic(17), 'relocations'],
    ['DT_RELR', dynamic(36), 'relocations'],
    ['DT_JMPREL', dynamic(23), 'a procedure linkage table'],
    ['an unknown tag', dynamic(0x6fff_0000), 'the tag 1878982656'],
    ['relocations with addends', relocations(4), '.rela.dyn has the type 4'],
    ['relocations', relocations(9), '.rela.dyn has the type 9'],
    ['relative relocations', relocations(19), '.rela.dyn has the type 19'],
    ['an array of constructors', { sections: { '.init_array': { type: 14 } } }, 'has the type 14'],
    ['stubs', { sections: { '.plt': { ...TEXT, address: 0x1100 } } }, 'it has a section .plt'],
    ['an offset table', { sections: { '.got.plt': { type: 1 } } }, 'it has a section .got.plt'],
    ['writable text', { sections: { '.text': { flags: 7 } } }, '.text is writable and executable'],
    ['text without bytes', { sections: { '.bss': { flags: 6 } } }, '.bss is executable and has no bytes'],
    ['data of threads', { sections: { '.bss': { flags: 0x403 } } }, '.bss is for threads'],
    ['sections over each other', data(0x1004), '.data overlaps another'],
    ['data in a page of text', data(0x1ff0), '.data overlaps another'],
    ['a section far away', data(2 ** 40), '.data lies too far away'],
    ['a writable executable segment', { segments: [{ type: 1, flags: 7 }] }, 'a segment is writable'],
    ['an executable stack', { segments: [{ type: 0x6474e551, flags: 5 }] }, 'that is no code is executable'],
    ['a segment of threads', { segments: [{ type: 7, flags: 4 }] }, 'a segment has the type 7'],
    ['an interpreter', { segments: [{ type: 3, flags: 4 }] }, 'a segment has the type 3'],
    [
      'a segment beyond the file',
      { segments: [{ type: 1, flags: 4, fileBytes: 1e9 }] },
      'outside of the file',
    ],
    ['an executable', { kind: 2 }, 'it is not a shared object'],
    ['no version', without('version'), 'a symbol of the compiler is missing'],
    ['no host functions', without('intrinsics'), 'a symbol of the compiler is missing'],
    [
      'host functions in the text',
      moved('intrinsics', { section: '.text', address: 0x1000 }),
      'has no place',
    ],
    ['another form', moved('version', { address: 0x404 }), 'another release'],
    ['a function that is missing', symbol({ name: 'f2' }), 'the code of a type or function is missing'],
    ['a function in data', moved('f0', { section: '.rodata', address: 0x404 }), 'is missing'],
    ['a function that is data', moved('f0', { type: 1 }), 'is missing'],
    ['a type that is missing', without('t0'), 'the code of a type or function is missing'],
    ['two symbols of one name', symbol({ name: 'f0' }), 'have the same name'],
  ])('for %s', (_, parts, expected) => {
    expect(fault(objectOf(parts))).toContain(expected);
  });

  test('at any length at which it is cut short, and when it is empty', () => {
    const object = objectOf();
    for (let length = 0; length < object.length; length += 1)
      expect(runAtOnce(packCode(MODULE, object.subarray(0, length), 'x64')).ok).toBe(false);
  });

  test('without the control characters of its names in the fault', () => {
    const object = objectOf({ symbols: [{ name: 'a\n\u001b[31m', section: 0 }] });
    expect(fault(object)).toBe('the symbol a???31m is undefined');
  });
});

describe('Ten thousand damaged objects', () => {
  /** A generator of 32-bit numbers (mulberry32). */
  function numbersFrom(seed: number): () => number {
    let state = seed;
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return (mixed ^ (mixed >>> 14)) >>> 0;
    };
  }
  const EDGES = [0, 1, 0x7f, 0x80, 0xff];

  test('never make the check throw, and none that passes has what is refused', () => {
    const next = numbersFrom(7);
    const bases = [objectOf(), objectOf(symbol({ section: 0, address: 0, size: 0 })), objectOf(dynamic(1))];
    let accepted = 0;
    for (let round = 0; round < 10_000; round += 1) {
      const object = Uint8Array.from(bases[round % bases.length] ?? []);
      for (let count = 1 + (next() % 4); count > 0; count -= 1) {
        const value = next() % 2 === 0 ? (EDGES[next() % EDGES.length] ?? 0) : next() & 0xff;
        object[next() % object.length] = value;
      }
      const packed = runAtOnce(packCode(MODULE, object, 'x64'));
      if (!packed.ok) continue;
      accepted += 1;
      expect(plainFaults(object)).toEqual([]);
    }
    expect(accepted).toBeGreaterThan(100);
    expect(accepted).toBeLessThan(10_000);
  });

  /** The same rules once more, read from the bytes without the reader. */
  function plainFaults(object: Uint8Array): string[] {
    const view = new DataView(object.buffer);
    const u64 = (at: number): number => Number(view.getBigUint64(at, true));
    const found: string[] = [];
    const sections = Array.from({ length: view.getUint16(60, true) }, (_, index) => u64(40) + index * 64);
    for (const at of sections) {
      const type = view.getUint32(at + 4, true);
      const flags = u64(at + 8);
      if ([4, 9, 14, 15, 16, 19].includes(type)) found.push(`section type ${type}`);
      if ((flags & 5) === 5) found.push('writable text');
      if (type !== 11 && type !== 2) continue;
      for (let one = u64(at + 24) + 24; one < u64(at + 24) + u64(at + 32); one += 24) {
        if (view.getUint16(one + 6, true) === 0) found.push('undefined symbol');
        if ((view.getUint8(one + 4) & 15) === 10) found.push('indirect function');
      }
    }
    for (let index = 0; index < view.getUint16(56, true); index += 1) {
      const at = u64(32) + index * 56;
      if (view.getUint32(at, true) === 1 && (view.getUint32(at + 4, true) & 3) === 3) found.push('W and X');
      if (view.getUint32(at, true) !== 2) continue;
      for (let tag = u64(at + 8); tag + 16 <= u64(at + 8) + u64(at + 32); tag += 16)
        if (![0, 4, 5, 6, 10, 11, 0x6ffffef5].includes(u64(tag))) found.push(`tag ${u64(tag)}`);
    }
    return found;
  }
});

describe('The reader', () => {
  test('gives numbers up to 53 bits and refuses larger ones', () => {
    const object = objectOf();
    const section = Number(new DataView(object.buffer).getBigUint64(40, true)) + 64;
    const view = new DataView(object.buffer);
    view.setBigUint64(section + 16, 2n ** 53n - 1n, true);
    const read = runAtOnce(readElf(object));
    expect(read.ok && read.file.sections[1]?.address).toBe(Number.MAX_SAFE_INTEGER);
    expect(read.ok && runAtOnce(incompleteness(read.file, ELF.machine.x64))).toContain(
      'outside of its section',
    );
    view.setBigUint64(section + 16, 2n ** 53n, true);
    expect(runAtOnce(readElf(object))).toEqual({ ok: false, fault: 'a field is larger than any file' });
  });
});
