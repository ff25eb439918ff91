// How much a worker that serves a request may be given besides: as much as it does in the time that waking
// another one takes.
import { WORKER_SLOTS } from '../ring/geometry.ts';
import type { Invocation } from './queue.ts';
import type { Worker } from './worker.ts';

export type Backlog = {
  /** `cpuUs` is what a worker says an invocation took; one that lies holds up its own version only. */
  answered(cpuUs: number): void;
  /** False for a worker that serves nothing. */
  hasRoom(worker: Worker, invocation: Invocation): boolean;
};

/** Work that an invocation may wait for in its slot. */
const BACKLOG_US_MAX = 100;
/** A larger body takes a worker of its own. */
const BODY_BYTES_MAX = 65_536;
/** How far each answer moves the estimate of what the next one takes. */
const ESTIMATE_GAIN = 0.1;

/** Of one pool; there is no room before its first answer. */
export function createBacklog(): Backlog {
  let invocationUs: number | null = null;
  return {
    answered(cpuUs) {
      invocationUs = invocationUs === null ? cpuUs : invocationUs + (cpuUs - invocationUs) * ESTIMATE_GAIN;
    },
    hasRoom({ given, hasExited, isStuck, state }, { request }) {
      if (invocationUs === null || state !== 'busy' || isStuck || hasExited) return false;
      if (given.length >= WORKER_SLOTS || (request.body?.byteLength ?? 0) > BODY_BYTES_MAX) return false;
      return given.length * invocationUs < BACKLOG_US_MAX;
    },
  };
}
