// Stripping a module drops its custom sections except `name`, and changes no other byte.
import { describe, expect, test } from 'bun:test';
import { runAtOnce } from '../../../src/base/concurrency.ts';
import { stripCustomSections } from '../../../src/model/wasm/strip.ts';
import { HANDLE_TYPE, custom, joined, moduleOf, repeated, richModule, section, vector } from './builder.ts';

const type = section(1, vector([HANDLE_TYPE]));
const name = custom('name', [0, 2, 1, 0x61]);

describe('A module with custom sections', () => {
  test('keeps only those called name, wherever they stand', () => {
    const before = joined([
      custom('a', [1]),
      type,
      custom('names'),
      name,
      section(3, [0]),
      custom('wasmedge'),
      name,
    ]);
    expect(runAtOnce(stripCustomSections(before))).toEqual(joined([type, name, section(3, [0]), name]));
  });

  test('stays the same when there is nothing to drop, long integers included', () => {
    const long = [1, 0x80 | (HANDLE_TYPE.length + 1), ...repeated(3, 0x80), 0x00, ...vector([HANDLE_TYPE])];
    for (const bytes of [richModule(), moduleOf(), joined([long, name]), joined([])]) {
      expect(runAtOnce(stripCustomSections(bytes))).toEqual(bytes);
    }
  });

  test('is copied, so that the upload can be freed', () => {
    const bytes = moduleOf({}, custom('big', repeated(10_000, 7)));
    const stripped = runAtOnce(stripCustomSections(bytes));
    expect(stripped).toEqual(moduleOf());
    expect(stripped.buffer.byteLength).toBe(stripped.length);
    expect(stripped.buffer).not.toBe(bytes.buffer);
  });

  test('is refused if it is truncated', () => {
    const bytes = joined([type, custom('a', [1, 2, 3])]);
    expect(() => runAtOnce(stripCustomSections(bytes.subarray(0, -1)))).toThrow(
      'The module is truncated or malformed.',
    );
  });
});
