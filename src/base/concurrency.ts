// A bound on how many of one kind of work run at once, and a queue of one.
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

/** Runs one piece of work after the other; whoever calls is bounded by a gate. */
export type Turn = <T>(work: () => Promise<T>) => Promise<T>;

export function createTurn(): Turn {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const mine = last.then(work, work);
    last = mine.catch(() => undefined);
    return mine;
  };
}
