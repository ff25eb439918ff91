// The scrub: bounded steps, each going on where the one before has ended.
import { describe, expect, test } from 'bun:test';
import { createManualClock } from '../../../src/base/clock.ts';
import { ARTIFACT_TUNING } from '../../../src/base/limits/control.ts';
import { createScrub } from '../../../src/control/publish/scrub.ts';

type Row = { sha256: string; size_bytes: number };

/** A scrub over these rows and files; `seen` are the digests that it has come to, in order. */
function open({ rows, files = [], first = 0 }: { rows: Row[]; files?: string[]; first?: number }) {
  const seen: string[] = [];
  const dropped: number[] = [];
  const startsWith = (prefix: string) => (sha256: string) => sha256.startsWith(prefix);
  const step = createScrub({
    store: {
      artifacts: {
        named: async (prefix) => rows.filter(({ sha256 }) => startsWith(prefix)(sha256)),
        isKnown: () => Promise.reject(new Error('the scrub asks for whole folders')),
      },
    },
    artifacts: {
      named: async (prefix) => files.filter(startsWith(prefix)),
      dropAside: async () => void dropped.push(seen.length),
    },
    clock: createManualClock(),
    random: () => new Uint8Array([first]),
    check: async (sha256) => void seen.push(sha256),
    setOrphanAside: async (sha256) => void seen.push(`orphan ${sha256}`),
  });
  return {
    seen,
    dropped,
    step: () => step(new AbortController().signal),
    stopped: () => step(AbortSignal.abort()),
  };
}

const named = (index: number): string => index.toString(16).padStart(4, '0').padEnd(64, '0');
const rowsOf = (count: number, size_bytes: number): Row[] =>
  Array.from({ length: count }, (_, index) => ({ sha256: named(index * 7), size_bytes }));

describe('A pass of the scrub', () => {
  test('waits first, takes a bounded number at a time, and comes to each once', async () => {
    const rows = rowsOf(3 * ARTIFACT_TUNING.scrubStepItems - 1, 1);
    const { seen, dropped, step } = open({ rows });
    expect([await step(), seen.length]).toEqual([ARTIFACT_TUNING.scrubStepMs, 0]);
    for (const steps of [1, 2]) {
      expect(await step()).toBe(ARTIFACT_TUNING.scrubStepMs);
      expect(seen).toHaveLength(steps * ARTIFACT_TUNING.scrubStepItems);
    }
    expect(await step()).toBe(ARTIFACT_TUNING.scrubPauseMs);
    expect(seen).toEqual(rows.map(({ sha256 }) => sha256));
    expect(dropped).toEqual([rows.length]);
    await step();
    expect(seen).toHaveLength(rows.length + ARTIFACT_TUNING.scrubStepItems);
  });

  test('takes a bounded number of bytes at a time', async () => {
    const rows = rowsOf(10, ARTIFACT_TUNING.scrubStepBytes / 2);
    const { seen, step } = open({ rows });
    await step();
    await step();
    expect(seen).toHaveLength(2);
    await step();
    expect(seen).toEqual(rows.slice(0, 4).map(({ sha256 }) => sha256));
  });

  test('begins anywhere and wraps around; files without a row are orphans', async () => {
    const rows = [0x0100, 0x8000, 0xff00].map((at) => ({ sha256: named(at), size_bytes: 1 }));
    const { seen, step } = open({ rows, files: [named(0x0200), named(0x8000)], first: 0x80 });
    await step();
    expect(await step()).toBe(ARTIFACT_TUNING.scrubPauseMs);
    expect(seen).toEqual([named(0x8000), named(0xff00), named(0x0100), `orphan ${named(0x0200)}`]);
  });

  test('ends at once with its process', async () => {
    const { seen, step, stopped } = open({ rows: rowsOf(3, 1) });
    await step();
    await stopped();
    expect(seen).toEqual([]);
  });
});
