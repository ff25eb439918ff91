// The event stream of the zygote: one preface byte, then frames of 32 bytes, split anywhere; pure.

/** Kinds of `enum edge_event_kind`. */
export const EVENT = { open: 1, started: 2, exited: 3, compiled: 4 } as const;

/** What `how` says of a process that ended (`struct edge_event`). */
export const HOW = { exited: 0, signalled: 1, notForked: 2 } as const;

/** `struct edge_event`; `slot` is the job of a compile event. */
export type EngineEvent = {
  kind: number;
  slot: number;
  generation: number;
  pid: number;
  how: number;
  value: number;
  maxRssKb: number;
  cpuMs: number;
};

const FRAME_BYTES = 32;

export type FrameReader = {
  /** The events that `chunk` completes, in order; what is left over waits for the next chunk. */
  read(chunk: Uint8Array): EngineEvent[];
};

/** Reads what follows the preface byte. It keeps at most one frame. */
export function createFrameReader(): FrameReader {
  const rest = new Uint8Array(FRAME_BYTES);
  let restLength = 0;
  return {
    read(chunk) {
      const events: EngineEvent[] = [];
      let at = 0;
      while (at < chunk.length) {
        const taken = Math.min(FRAME_BYTES - restLength, chunk.length - at);
        rest.set(chunk.subarray(at, at + taken), restLength);
        restLength += taken;
        at += taken;
        if (restLength < FRAME_BYTES) break;
        restLength = 0;
        events.push(decodeFrame(rest));
      }
      return events;
    },
  };
}

function decodeFrame(frame: Uint8Array): EngineEvent {
  const view = new DataView(frame.buffer, frame.byteOffset, FRAME_BYTES);
  const word = (index: number): number => view.getUint32(index * 4, true);
  return {
    kind: word(0),
    slot: word(1),
    generation: word(2),
    pid: word(3),
    how: word(4),
    value: word(5),
    maxRssKb: word(6),
    cpuMs: word(7),
  };
}
