// The reader reads LEB128 integers, names, counts and nested ends up to the edges of the format.
import { describe, expect, test } from 'bun:test';
import { ModuleReader, ModuleRefusal } from '../../../src/model/wasm/parser/reader.ts';
import { repeated, text, u32 } from './builder.ts';

const readerOf = (bytes: readonly number[]): ModuleReader => new ModuleReader(Uint8Array.from(bytes));

const codeOf = (read: () => unknown): string => {
  try {
    read();
  } catch (failure) {
    if (failure instanceof ModuleRefusal) return failure.fault.code;
    throw failure;
  }
  return 'read';
};

describe('An unsigned 32-bit integer', () => {
  test.each([
    [[0x00], 0],
    [[0x7f], 127],
    [[0x80, 0x01], 128],
    [[0x80, 0x00], 0],
    [[0xff, 0xff, 0xff, 0xff, 0x0f], 0xffff_ffff],
    [[0x83, 0x80, 0x80, 0x80, 0x00], 3],
  ])('%p reads as %p', (bytes, value) => {
    expect(readerOf(bytes).u32()).toBe(value);
  });

  test.each([
    [[]],
    [[0x80]],
    [[0xff, 0xff, 0xff, 0xff, 0x1f]],
    [[0x80, 0x80, 0x80, 0x80, 0x10]],
    [[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]],
  ])('%p is malformed', (bytes) => {
    expect(codeOf(() => readerOf(bytes).u32())).toBe('malformed_wasm');
  });
});

describe('A signed 32-bit integer', () => {
  test.each([
    [[0x00], 0],
    [[0x3f], 63],
    [[0x40], -64],
    [[0x7f], -1],
    [[0xff, 0x7f], -1],
    [[0xff, 0xff, 0xff, 0xff, 0x07], 0x7fff_ffff],
    [[0x80, 0x80, 0x80, 0x80, 0x78], -0x8000_0000],
    [[0xff, 0xff, 0xff, 0xff, 0x7f], -1],
  ])('%p reads as %p', (bytes, value) => {
    expect(readerOf(bytes).s32()).toBe(value);
  });

  test.each([
    [[0xff, 0xff, 0xff, 0xff]],
    [[0xff, 0xff, 0xff, 0xff, 0x0f]],
    [[0x80, 0x80, 0x80, 0x80, 0x70]],
    [[0x80, 0x80, 0x80, 0x80, 0x08]],
    [[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]],
  ])('%p is malformed', (bytes) => {
    expect(codeOf(() => readerOf(bytes).s32())).toBe('malformed_wasm');
  });
});

describe('A signed 64-bit integer', () => {
  test.each([[[0x00]], [[...repeated(9, 0x80), 0x00]], [[...repeated(9, 0xff), 0x7f]]])(
    '%p is skipped',
    (bytes) => {
      const reader = readerOf(bytes);
      reader.skipS64();
      expect(reader.position).toBe(bytes.length);
    },
  );

  test.each([
    [repeated(9, 0x80)],
    [[...repeated(9, 0x80), 0x01]],
    [[...repeated(9, 0xff), 0x7e]],
    [repeated(10, 0x80)],
  ])('%p is malformed', (bytes) => {
    expect(codeOf(() => readerOf(bytes).skipS64())).toBe('malformed_wasm');
  });
});

describe('A type index of a block', () => {
  test.each([
    [[0x05], 5],
    [[0xc0, 0x00], 64],
    [[0xff, 0xff, 0xff, 0xff, 0x0f], 0xffff_ffff],
  ])('%p reads as %p', (bytes, value) => {
    expect(readerOf(bytes).s33Index()).toBe(value);
  });

  test.each([[[0xc0, 0x7f]], [[0x80, 0x80, 0x80, 0x80, 0x70]], [[0x80, 0x80, 0x80, 0x80, 0x20]]])(
    '%p is malformed',
    (bytes) => {
      expect(codeOf(() => readerOf(bytes).s33Index())).toBe('malformed_wasm');
    },
  );
});

describe('A name', () => {
  test('keeps a byte order mark and all of Unicode', () => {
    const name = '\ufeffhandle \u{1f600} é';
    expect(readerOf(text(name)).name(100)).toBe(name);
  });

  test.each([
    ['a lone continuation', [0x80]],
    ['an overlong slash', [0xc0, 0xaf]],
    ['an overlong zero of three bytes', [0xe0, 0x80, 0x80]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['a value past U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
    ['a sequence cut short', [0xe2, 0x82]],
    ['a byte that UTF-8 never has', [0xff]],
  ])('with %s is malformed', (_, bytes) => {
    expect(codeOf(() => readerOf([...u32(bytes.length), ...bytes]).name(100))).toBe('malformed_wasm');
  });

  test('above the limit is refused with its own code', () => {
    expect(codeOf(() => readerOf(text('abcd')).name(3))).toBe('name_too_long');
  });

  test('whose bytes are missing is malformed, whatever its length', () => {
    expect(codeOf(() => readerOf([...u32(0xffff_ffff), 0x61]).name(3))).toBe('malformed_wasm');
  });
});

describe('A count', () => {
  test('is malformed, not above the limit, if there is less than a byte for each item', () => {
    const bound = { max: 10, code: 'too_many_items', what: 'things' } as const;
    expect(codeOf(() => readerOf([...u32(0xffff_ffff), 1, 2]).count(bound))).toBe('malformed_wasm');
    expect(codeOf(() => readerOf([11, ...repeated(11, 0)]).count(bound))).toBe('too_many_items');
    expect(readerOf([10, ...repeated(10, 0)]).count(bound)).toBe(10);
  });
});

describe('A nested end', () => {
  test('stops reads, and makes bytes that are left over malformed', () => {
    const bytes = [1, 2, 3, 4];
    expect(codeOf(() => readerOf(bytes).within(2, 'part', () => undefined))).toBe('malformed_wasm');
    expect(codeOf(() => readerOf(bytes).within(5, 'part', () => undefined))).toBe('malformed_wasm');
    const reader = readerOf(bytes);
    expect(codeOf(() => reader.within(2, 'part', () => reader.skip(3)))).toBe('malformed_wasm');
    const whole = readerOf(bytes);
    whole.within(2, 'part', () => whole.skip(2));
    expect(whole.byte()).toBe(3);
  });
});
