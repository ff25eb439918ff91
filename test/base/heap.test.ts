// The specification of giving memory back: after work, in a quiet moment, not for ever, and never too rarely.
import { describe, expect, test } from 'bun:test';
import { createHeapKeeper } from '../../src/base/heap.ts';
import { HEAP_TUNING } from '../../src/base/limits/memory.ts';

const COLLECTION_MS = 3 * HEAP_TUNING.workMs;
const WORK = HEAP_TUNING.workMs;

/** Looks after each of these amounts of processor time, and which collected; that takes time as well. */
function collectionsAfter(usedMs: readonly number[], residentBytes = 0): boolean[] {
  let cpuMs = 1_000;
  let collections = 0;
  const collect = (): void => {
    collections += 1;
    cpuMs += COLLECTION_MS;
  };
  const keeper = createHeapKeeper({ cpuMs: () => cpuMs, residentBytes: () => residentBytes, collect });
  return usedMs.map((used) => {
    const before = collections;
    cpuMs += used;
    keeper.look();
    return collections > before;
  });
}

describe('A process', () => {
  test('that does next to nothing collects nothing, however large it is', () => {
    const quiet = Array<number>(50).fill(WORK - 1);
    expect(collectionsAfter(quiet, HEAP_TUNING.residentBytes + 1)).not.toContain(true);
  });

  test('collects a few times once it is quiet after work, and then no more', () => {
    const quiet = Array<number>(HEAP_TUNING.collections + 3).fill(1);
    const [busy, ...later] = collectionsAfter([WORK, ...quiet], HEAP_TUNING.smallBytes + 1);
    expect(busy).toBe(false);
    expect(later).toEqual(quiet.map((_, look) => look < HEAP_TUNING.collections));
  });

  test('that is quiet after work is left alone while it is small', () => {
    expect(collectionsAfter([WORK, 1, 1, 1, 1], HEAP_TUNING.smallBytes)).not.toContain(true);
  });

  test('that works all the time is left alone while it is not large', () => {
    expect(collectionsAfter(Array<number>(20).fill(WORK), HEAP_TUNING.residentBytes)).not.toContain(true);
  });

  test('that works all the time and is large collects once in so many looks', () => {
    const looks = 3 * HEAP_TUNING.busyPolls;
    const collected = collectionsAfter(Array<number>(looks).fill(WORK), HEAP_TUNING.residentBytes + 1);
    const inEvery = Array.from({ length: looks }, (_, look) => (look + 1) % HEAP_TUNING.busyPolls === 0);
    expect(collected).toEqual(inEvery);
  });
});
