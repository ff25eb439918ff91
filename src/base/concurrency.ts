// Bounds how much work runs at once: a gate that refuses above a maximum, and a queue of one at a time.
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
