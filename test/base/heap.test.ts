// The idle collector: it collects after work, while the process is idle, and no more often than needed.
import { describe, expect, test } from 'bun:test';
import { createIdleCollector } from '../../src/base/heap.ts';
import { HEAP_TUNING } from '../../src/base/limits/memory.ts';

const COLLECTION_MS = 3 * HEAP_TUNING.workMs;
const WORK = HEAP_TUNING.workMs;

/** Polls after each of these amounts of processor time; says which polls collected. A collection takes time. */
function collectionsAfter(usedMs: readonly number[], residentBytes = 0): boolean[] {
  let cpuMs = 1_000;
  let collections = 0;
  const collect = (): void => {
    collections += 1;
    cpuMs += COLLECTION_MS;
  };
  const collector = createIdleCollector({ cpuMs: () => cpuMs, residentBytes: () => residentBytes, collect });
  return usedMs.map((used) => {
    const before = collections;
    cpuMs += used;
    collector.poll();
    return collections > before;
  });
}

describe('A process that is polled', () => {
  test('is never collected while it does next to nothing, however large it is', () => {
    const idle = Array<number>(50).fill(WORK - 1);
    expect(collectionsAfter(idle, HEAP_TUNING.residentBytes + 1)).not.toContain(true);
  });

  test('is collected a few times once it is idle after work, and then no more', () => {
    const idle = Array<number>(HEAP_TUNING.collections + 3).fill(1);
    const [busy, ...later] = collectionsAfter([WORK, ...idle], HEAP_TUNING.smallBytes + 1);
    expect(busy).toBe(false);
    expect(later).toEqual(idle.map((_, poll) => poll < HEAP_TUNING.collections));
  });

  test('is not collected after work while it is small', () => {
    expect(collectionsAfter([WORK, 1, 1, 1, 1], HEAP_TUNING.smallBytes)).not.toContain(true);
  });

  test('is not collected while it works without a pause and is not large', () => {
    expect(collectionsAfter(Array<number>(20).fill(WORK), HEAP_TUNING.residentBytes)).not.toContain(true);
  });

  test('is collected every few polls while it works without a pause and is large', () => {
    const polls = 3 * HEAP_TUNING.busyPolls;
    const collected = collectionsAfter(Array<number>(polls).fill(WORK), HEAP_TUNING.residentBytes + 1);
    const inEvery = Array.from({ length: polls }, (_, poll) => (poll + 1) % HEAP_TUNING.busyPolls === 0);
    expect(collected).toEqual(inEvery);
  });
});
