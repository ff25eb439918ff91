// Event frames arrive whole whatever way the stream is cut.
import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import type { WallPart } from '../../../src/model/wall.ts';
import { PARTS, STATES } from '../../../src/engine/wall/parts.ts';
import { createFrameReader, type EngineEvent, EVENT, EXIT_WAYS } from '../../../src/engine/process/frames.ts';

/** The eight words of `struct edge_event`. */
function encode(events: readonly EngineEvent[]): Uint8Array {
  const words = events.flatMap((event) => {
    if (event.kind === 'open') return [EVENT.open, 0, 0, 0, 0, event.threads, 0, 0];
    if (event.kind === 'started') return [EVENT.started, event.slot, event.generation, event.pid, 0, 0, 0, 0];
    if (event.kind === 'pong') return [EVENT.pong, 0, 0, 0, 0, 0, 0, 0];
    if (event.kind === 'wall') {
      const { part, state, reason } = event.part;
      const version = part === 'landlock' ? Number(reason?.slice('version '.length)) : 0;
      return [
        EVENT.wall,
        PARTS.findIndex((name) => name === part),
        0,
        0,
        STATES.indexOf(state),
        version,
        0,
        0,
      ];
    }
    const { how, value } = event.exit;
    const exit = [EXIT_WAYS.indexOf(how), value, 5, 6];
    if (event.kind === 'compiled') return [EVENT.compiled, event.job, 0, 0, ...exit];
    return [EVENT.exited, event.slot, event.generation, event.pid, ...exit];
  });
  return new Uint8Array(new Uint32Array(words).buffer);
}

const word = fc.integer({ min: 0, max: 0xffff_ffff });
const exit = fc.record({ how: fc.constantFrom(...EXIT_WAYS), value: word });
const heldPart = fc
  .record({ part: fc.constantFrom(...PARTS), version: word })
  .map(({ part, version }): WallPart => {
    return { part, state: 'held', reason: part === 'landlock' ? `version ${version}` : null };
  });
const event: fc.Arbitrary<EngineEvent> = fc.oneof(
  fc.record({ kind: fc.constant('open' as const), threads: word }),
  fc.record({ kind: fc.constant('started' as const), slot: word, generation: word, pid: word }),
  fc.record({ kind: fc.constant('exited' as const), slot: word, generation: word, pid: word, exit }),
  fc.record({ kind: fc.constant('pong' as const) }),
  fc.record({ kind: fc.constant('compiled' as const), job: word, exit }),
  fc.record({ kind: fc.constant('wall' as const), part: heldPart }),
);

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
    const exit = { how: 'signalled', value: 9 } as const;
    const events = [{ kind: 'exited', slot: 1, generation: 2, pid: 3, exit } as const];
    const bytes = encode(events);
    const reader = createFrameReader();
    expect(reader.read(bytes.subarray(0, 31))).toEqual([]);
    expect(reader.read(bytes.subarray(31))).toEqual(events);
  });

  test('skips a frame of an unknown kind or end', () => {
    const known = encode([{ kind: 'open', threads: 1 }]);
    const unknown = new Uint8Array(new Uint32Array([9, 0, 0, 0, 0, 0, 0, 0]).buffer);
    const noEnd = new Uint8Array(new Uint32Array([EVENT.exited, 0, 1, 2, 7, 0, 0, 0]).buffer);
    const stream = Buffer.concat([unknown, noEnd, known]);
    expect(createFrameReader().read(stream)).toEqual([{ kind: 'open', threads: 1 }]);
  });
});
