// Wake-ups name their workers, in whatever pieces they arrive.
import { describe, expect, test } from 'bun:test';
import { createWakeReader } from '../../../src/engine/process/wakes.ts';

const WORKERS = [
  [0, 1],
  [8, 0xff_ffff],
  [8_184, 0x0102_0304],
  [0xffff_ffff, 0xffff_ffff],
] as const;
const bytes = new Uint8Array(new Uint32Array(WORKERS.flat()).buffer);

describe('The wake-ups of workers', () => {
  test.each(Array.from({ length: bytes.length }, (_, index) => index + 1))(
    'are the same in pieces of %d bytes',
    (length) => {
      const reader = createWakeReader();
      const seen: number[][] = [];
      for (let at = 0; at < bytes.length; at += length)
        reader.read(
          bytes.subarray(at, at + length),
          (slot, generation) => void seen.push([slot, generation]),
        );
      expect(seen).toEqual(WORKERS.map((worker) => [...worker]));
    },
  );

  test('are none before the last byte of the first', () => {
    const seen: number[] = [];
    const reader = createWakeReader();
    reader.read(bytes.subarray(0, 7), (slot) => void seen.push(slot));
    reader.read(new Uint8Array(0), (slot) => void seen.push(slot));
    expect(seen).toEqual([]);
    reader.read(bytes.subarray(7, 8), (slot) => void seen.push(slot));
    expect(seen).toEqual([0]);
  });
});
