// How many pieces of work run at once: a gate that refuses what is too much, and a queue of one at a time.
import { CodedError } from './errors.ts';

/** `enter` refuses `overloaded` at once where `max` are inside; nobody waits. */
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

/** Runs one piece of work after the other, in order, whatever became of the ones before. Callers bound it. */
export type SerialQueue = <T>(work: () => Promise<T>) => Promise<T>;

export function createSerialQueue(): SerialQueue {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const mine = last.then(work, work);
    last = mine.catch(() => undefined);
    return mine;
  };
}
