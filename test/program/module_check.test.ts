// The check of a module, in this process and in a child of the built executable.
import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CHECK_TUNING } from '../../src/base/limits/module.ts';
import { createModuleCheck } from '../../src/program/roles/module_check.ts';

const ROOT = resolve(import.meta.dir, '../..');
const executable = [join(ROOT, 'dist/edge')];
const options = { memoryPages: 256, entrypoint: 'handle' };
const small = new Uint8Array(readFileSync(join(ROOT, 'fixtures/hello/hello-c.wasm')));

/** The same module with a custom section of `extra` zeros at its end. */
function padded(bytes: Uint8Array, extra: number): Uint8Array {
  const size = extra + 2;
  const length = [0, 7, 14, 21, 28].map((shift, i) => ((size >>> shift) & 0x7f) | (i < 4 ? 0x80 : 0));
  return Uint8Array.from([...bytes, 0, ...length, 1, 0x78, ...new Uint8Array(extra)]);
}

describe('A module above the size that is checked in this process', () => {
  const large = padded(small, CHECK_TUNING.inlineBytesMax);

  test('gets the same report from a child process', async () => {
    const here = await createModuleCheck({ self: ['/nonexistent'] })(small, options);
    const there = await createModuleCheck({ self: executable })(large, options);
    if (!here.ok || !there.ok) throw new Error('the module was refused');
    expect(there.report.size_bytes).toBe(large.length);
    expect(there.report.exports).toEqual(here.report.exports);
    expect(there.report.allocator).toBe(here.report.allocator);
  });

  test('is refused with the code and the offset of its fault', async () => {
    const cut = large.subarray(0, large.length - 1);
    const result = await createModuleCheck({ self: executable })(cut, options);
    expect(result).toMatchObject({
      ok: false,
      error: { code: 'malformed_wasm', offset: expect.any(Number) },
    });
  });

  test('is refused as too complex when its check takes longer than the limit', async () => {
    const check = createModuleCheck({ self: ['sleep', '60'], checkMs: 50 });
    expect(await check(large, options)).toMatchObject({ ok: false, error: { code: 'module_too_complex' } });
    expect(await check(small, options)).toMatchObject({ ok: true });
  });

  test('is not refused when the child fails: the check rejects', async () => {
    expect(createModuleCheck({ self: ['false'] })(large, options)).rejects.toThrow('ended with 1');
  });
});
