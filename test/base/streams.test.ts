// A stream is read whole, up to a bound.
import { describe, expect, test } from 'bun:test';
import { readStream } from '../../src/base/streams.ts';

function streamOf(...texts: string[]): { stream: ReadableStream<Uint8Array>; isCancelled: () => boolean } {
  let cancelled = false;
  const parts = texts.map((text) => new TextEncoder().encode(text));
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      const next = parts.shift();
      if (next === undefined) controller.close();
      else controller.enqueue(next);
    },
    cancel() {
      cancelled = true;
    },
  });
  return { stream, isCancelled: () => cancelled };
}

describe('A stream that is read whole', () => {
  test.each([
    [[], ''],
    [['abc'], 'abc'],
    [['a', '', 'bc'], 'abc'],
  ])('of %p gives %p', async (parts, text) => {
    const { stream, isCancelled } = streamOf(...parts);
    const bytes = await readStream(stream, 3);
    expect(new TextDecoder().decode(bytes ?? undefined)).toBe(text);
    expect(isCancelled()).toBe(false);
  });

  test('gives null and is cancelled when it is longer than the bound', async () => {
    const { stream, isCancelled } = streamOf('ab', 'cd', 'ef');
    expect(await readStream(stream, 3)).toBeNull();
    expect(isCancelled()).toBe(true);
  });

  test('that is null is empty', async () => {
    expect(await readStream(null, 0)).toEqual(new Uint8Array(0));
  });

  test('rejects as the stream does', async () => {
    const broken = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.error(new Error('cut')),
    });
    await expect(readStream(broken, 3)).rejects.toThrow('cut');
  });
});
