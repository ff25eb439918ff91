// Event frames arrive whole whatever way the stream is cut.
import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { createFrameReader, type EngineEvent } from '../../../src/engine/process/frames.ts';

function encode(events: readonly EngineEvent[]): Uint8Array {
  const words = events.flatMap(({ kind, slot, generation, pid, how, value, maxRssKb, cpuMs }) => {
    return [kind, slot, generation, pid, how, value, maxRssKb, cpuMs];
  });
  return new Uint8Array(new Uint32Array(words).buffer);
}

const word = fc.integer({ min: 0, max: 0xffff_ffff });
const event = fc.record({
  kind: word,
  slot: word,
  generation: word,
  pid: word,
  how: word,
  value: word,
  maxRssKb: word,
  cpuMs: word,
});

describe('A stream of events', () => {
  test('gives the same events for every way to cut it', () => {
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 8 }),
        fc.array(fc.nat(300), { maxLength: 12 }),
        (events, cuts) => {
          const bytes = encode(events);
          const reader = createFrameReader();
          const edges = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)), bytes.length].sort(
            (a, b) => a - b,
          );
          const read = edges.slice(1).flatMap((end, index) => reader.read(bytes.subarray(edges[index], end)));
          expect(read).toEqual(events);
        },
      ),
    );
  });

  test('gives nothing for a frame that is one byte short, and the event with that byte', () => {
    const events = [{ kind: 3, slot: 1, generation: 2, pid: 3, how: 1, value: 9, maxRssKb: 5, cpuMs: 6 }];
    const bytes = encode(events);
    const reader = createFrameReader();
    expect(reader.read(bytes.subarray(0, 31))).toEqual([]);
    expect(reader.read(bytes.subarray(31))).toEqual(events);
  });
});
