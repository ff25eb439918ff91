// How work shares one process: bounded numbers at a time, one after the other, or in short slices.
import type { Clock } from './clock.ts';
import { CodedError } from './errors.ts';

/** `enter` runs `work`, or throws `overloaded` at once if `max` are inside already; nothing waits. */
export type Gate = { readonly inside: number; enter<T>(work: () => Promise<T>): Promise<T> };

export function createGate(options: { max: number }): Gate {
  let inside = 0;
  return {
    get inside() {
      return inside;
    },
    async enter(work) {
      if (inside >= options.max) throw new CodedError('overloaded');
      inside += 1;
      try {
        return await work();
      } finally {
        inside -= 1;
      }
    },
  };
}

/** Runs work one at a time in the order of the calls, also after a failure. Its callers bound its length. */
export type SerialQueue = <T>(work: () => Promise<T>) => Promise<T>;

export function createSerialQueue(): SerialQueue {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const next = last.then(work, work);
    last = next.catch(() => undefined);
    return next;
  };
}

/** A computation that pauses at every `yield`; between two of them it runs for 1 ms at most. */
export type Sliced<T> = Generator<void, T, void>;

/** Milliseconds that a sliced computation may hold the thread before anything else gets its turn. */
const SLICE_MS = 4;
const COPY_BYTES = 1024 * 1024;

/** Runs `work` to its end without a pause. */
export function runAtOnce<T>(work: Sliced<T>): T {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
  }
}

/** Runs `work` in slices of about `SLICE_MS`, and lets the event loop turn after each. */
export async function runInSlices<T>(clock: Clock, work: Sliced<T>): Promise<T> {
  for (;;) {
    const endMs = clock.monotonicMs() + SLICE_MS;
    do {
      const step = work.next();
      if (step.done === true) return step.value;
    } while (clock.monotonicMs() < endMs);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Pieces of `bytes`, in order, each small enough for one slice. */
export function* piecesOf(bytes: Uint8Array): Generator<Uint8Array, void, void> {
  for (let at = 0; at < bytes.length; at += COPY_BYTES) yield bytes.subarray(at, at + COPY_BYTES);
}

/** The parts one after the other in a buffer of their own. */
export function* joinParts(parts: readonly Uint8Array[]): Sliced<Uint8Array<ArrayBuffer>> {
  const joined = new Uint8Array(new ArrayBuffer(parts.reduce((sum, { length }) => sum + length, 0)));
  let at = 0;
  let copied = 0;
  for (const part of parts) {
    for (const piece of piecesOf(part)) {
      joined.set(piece, at);
      at += piece.length;
      // Many small parts cost time by their number.
      copied += piece.length + 1_024;
      if (copied < COPY_BYTES) continue;
      copied = 0;
      yield;
    }
  }
  return joined;
}

/** SHA-256 in hexadecimal digits. */
export function* sha256Of(bytes: Uint8Array): Sliced<string> {
  const hasher = new Bun.CryptoHasher('sha256');
  for (const piece of piecesOf(bytes)) {
    hasher.update(piece);
    yield;
  }
  return hasher.digest('hex');
}
