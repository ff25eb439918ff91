// The bounded queue of invocations that wait for a worker, first in first out.
import type { InvocationOutcome, InvocationRequest } from '../model/invocation.ts';

export type Waiting = {
  request: InvocationRequest;
  deadlineMs: number;
  /** When it began to wait. */
  sinceMs: number;
  resolve: (outcome: InvocationOutcome) => void;
};

export type Queue = {
  readonly length: number;
  /** When the first began to wait; null when nothing waits. */
  oldestMs(): number | null;
  /** False when the queue is full. */
  put(waiting: Waiting): boolean;
  take(): Waiting | undefined;
  takeAll(each: (waiting: Waiting) => void): void;
  /** Takes those whose deadline has passed, wherever they stand. */
  takeLate(nowMs: number, each: (waiting: Waiting) => void): void;
};

export function createQueue(lengthMax: number): Queue {
  let waitings: Waiting[] = [];
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
    take: () => waitings.shift(),
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
