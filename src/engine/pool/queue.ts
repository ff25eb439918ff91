// An invocation on its way through a pool, and the bounded queue of those that wait, first in, first out.
import type { InvocationOutcome, InvocationRequest } from '../../model/invocation.ts';

export type Invocation = {
  readonly request: InvocationRequest;
  readonly deadlineMs: number;
  readonly resolve: (outcome: InvocationOutcome) => void;
  /** When it entered the queue. */
  sinceMs: number;
  /** The slot of the worker that has it. */
  slot: number;
  /** It was taken from a worker that got no time, which happens once. */
  hasMoved: boolean;
};

export type Queue = {
  readonly length: number;
  /** When the first entered; null when the queue is empty. */
  oldestMs(): number | null;
  /** False when the queue is full. */
  put(waiting: Invocation): boolean;
  /** Puts invocations that had left it in front, in this order; they do not count against its bound. */
  putBack(waitings: readonly Invocation[]): void;
  take(): Invocation | undefined;
  first(): Invocation | undefined;
  takeAll(each: (waiting: Invocation) => void): void;
  /** Takes those whose deadline has passed, wherever they stand. */
  takeLate(nowMs: number, each: (waiting: Invocation) => void): void;
};

export function createQueue(lengthMax: number): Queue {
  let waitings: Invocation[] = [];
  return {
    get length() {
      return waitings.length;
    },
    oldestMs: () => waitings[0]?.sinceMs ?? null,
    put(waiting) {
      if (waitings.length >= lengthMax) return false;
      waitings.push(waiting);
      return true;
    },
    putBack(some) {
      waitings.unshift(...some);
    },
    take: () => waitings.shift(),
    first: () => waitings[0],
    takeAll(each) {
      const all = waitings;
      waitings = [];
      for (const waiting of all) each(waiting);
    },
    takeLate(nowMs, each) {
      if (!waitings.some((waiting) => nowMs >= waiting.deadlineMs)) return;
      const late = waitings.filter((waiting) => nowMs >= waiting.deadlineMs);
      waitings = waitings.filter((waiting) => nowMs < waiting.deadlineMs);
      for (const waiting of late) each(waiting);
    },
  };
}
