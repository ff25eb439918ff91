// How many requests may wait in the slots of a busy worker: as much work as waking another worker costs.
import type { Invocation } from './queue.ts';
import type { Worker } from './worker.ts';

export type BacklogEstimate = {
  /** `cpuUs` is what a worker says a request took; a false value can only slow its own version. */
  answered(cpuUs: number): void;
  /** Whether the invocation may wait behind what this worker has. */
  hasRoom(worker: Worker, invocation: Invocation): boolean;
};

/** Work that a request may wait for in its slot. */
const BACKLOG_US_MAX = 100;
/** A larger body takes longer to copy than the wait is worth: it goes to an idle worker. */
const BODY_BYTES_MAX = 65_536;
/** How far one answer moves the estimate. */
const ESTIMATE_GAIN = 0.1;

/** Of one pool; there is no room before its first answer. */
export function createBacklogEstimate(): BacklogEstimate {
  let requestUs: number | null = null;
  return {
    answered(cpuUs) {
      requestUs = requestUs === null ? cpuUs : requestUs + (cpuUs - requestUs) * ESTIMATE_GAIN;
    },
    hasRoom(worker, { request }) {
      if (requestUs === null || !worker.takesBacklog) return false;
      if ((request.body?.byteLength ?? 0) > BODY_BYTES_MAX) return false;
      return worker.backlogLength * requestUs < BACKLOG_US_MAX;
    },
  };
}
