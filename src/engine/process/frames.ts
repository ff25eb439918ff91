// The event stream of the zygote: one preface byte, then frames of 32 bytes that may arrive in pieces; pure.
import type { WallPart } from '../../model/wall.ts';
import type { ProcessExit } from '../ring/process_exit.ts';
import { decodePart } from '../wall/parts.ts';

/** Kinds of `enum edge_event_kind`. */
export const EVENT = { open: 1, started: 2, exited: 3, compiled: 4, pong: 5, wall: 6 } as const;

/** Positions of the words of `struct edge_event`. */
export const EVENT_WORD = {
  kind: 0,
  slot: 1,
  generation: 2,
  pid: 3,
  how: 4,
  value: 5,
  maxRssKb: 6,
  cpuMs: 7,
  words: 8,
} as const;

/** By number of `edge_event.how`. */
export const EXIT_WAYS: readonly ProcessExit['how'][] = ['exited', 'signalled', 'not_forked'];

/** `threads` of the engine process when it began to serve: it may fork with one only. */
export type EngineEvent =
  | { kind: 'open'; threads: number }
  | { kind: 'started'; slot: number; generation: number; pid: number }
  | { kind: 'exited'; slot: number; generation: number; pid: number; exit: ProcessExit }
  | { kind: 'pong' }
  | { kind: 'wall'; part: WallPart }
  | { kind: 'compiled'; job: number; exit: ProcessExit };

const FRAME_BYTES = EVENT_WORD.words * 4;

export type FrameReader = {
  /** The events that `chunk` completes, in order; frames of unknown kinds are skipped. */
  read(chunk: Uint8Array): EngineEvent[];
};

/** Reads what follows the preface byte; keeps at most one frame. */
export function createFrameReader(): FrameReader {
  const rest = new Uint8Array(FRAME_BYTES);
  let restLength = 0;
  return {
    read(chunk) {
      const events: EngineEvent[] = [];
      let at = 0;
      while (at < chunk.length) {
        const length = Math.min(FRAME_BYTES - restLength, chunk.length - at);
        rest.set(chunk.subarray(at, at + length), restLength);
        restLength += length;
        at += length;
        if (restLength < FRAME_BYTES) break;
        restLength = 0;
        const event = decodeFrame(rest);
        if (event !== null) events.push(event);
      }
      return events;
    },
  };
}

function decodeFrame(frame: Uint8Array): EngineEvent | null {
  const view = new DataView(frame.buffer, frame.byteOffset, FRAME_BYTES);
  const word = (position: number): number => view.getUint32(position * 4, true);
  const kind = word(EVENT_WORD.kind);
  const slot = word(EVENT_WORD.slot);
  const generation = word(EVENT_WORD.generation);
  const pid = word(EVENT_WORD.pid);
  const value = word(EVENT_WORD.value);
  if (kind === EVENT.open) return { kind: 'open', threads: value };
  if (kind === EVENT.started) return { kind: 'started', slot, generation, pid };
  if (kind === EVENT.pong) return { kind: 'pong' };
  if (kind === EVENT.wall) {
    const part = decodePart({ part: slot, state: word(EVENT_WORD.how), reason: value });
    return part === null ? null : { kind: 'wall', part };
  }
  const how = EXIT_WAYS[word(EVENT_WORD.how)];
  if (how === undefined) return null;
  if (kind === EVENT.exited) return { kind: 'exited', slot, generation, pid, exit: { how, value } };
  return kind === EVENT.compiled ? { kind: 'compiled', job: slot, exit: { how, value } } : null;
}
