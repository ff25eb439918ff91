// The wake stream of the workers: for each wake-up the name of the worker that sent it; pure.

/** `struct edge_wake`: two words, the slot and the generation of the worker. */
const WAKE_BYTES = 8;

export type WakeReader = {
  /** Calls `woke` for each wake-up that `chunk` completes, in order. */
  read(chunk: Uint8Array, woke: (slot: number, generation: number) => void): void;
};

/** Reads what follows the preface byte; keeps less than one wake-up. */
export function createWakeReader(): WakeReader {
  const rest = new Uint8Array(WAKE_BYTES);
  let restLength = 0;
  return {
    read(chunk, woke) {
      let at = 0;
      if (restLength > 0) {
        at = Math.min(WAKE_BYTES - restLength, chunk.length);
        rest.set(chunk.subarray(0, at), restLength);
        restLength += at;
        if (restLength < WAKE_BYTES) return;
        restLength = 0;
        woke(word(rest, 0), word(rest, 4));
      }
      for (; at + WAKE_BYTES <= chunk.length; at += WAKE_BYTES) woke(word(chunk, at), word(chunk, at + 4));
      restLength = chunk.length - at;
      rest.set(chunk.subarray(at));
    },
  };
}

/** Little-endian. */
function word(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24);
  return ((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | high) >>> 0;
}
