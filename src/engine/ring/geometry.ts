// How large the parts of a slot are; both sides of the ring are opened with the same figures.
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import { REQUEST_BOUNDS } from '../../base/limits/request.ts';

/** Requests that a worker may have at once, of which it serves one (`EDGE_WORKER_SLOTS`). */
export const WORKER_SLOTS = 8;

/** Bytes of each part of a slot, in whole pages. */
export type RingGeometry = {
  slots: number;
  requestHeadBytes: number;
  requestBodyBytes: number;
  responseHeadBytes: number;
  responseBodyBytes: number;
  logBytes: number;
};

export const GEOMETRY_NAMES = [
  'slots',
  'requestHeadBytes',
  'requestBodyBytes',
  'responseHeadBytes',
  'responseBodyBytes',
  'logBytes',
] as const satisfies readonly (keyof RingGeometry)[];

/** A log record is two words, its bytes, and up to three bytes of padding. */
const LOG_RECORD_BYTES = 12;
const METHOD_AND_ID_BYTES = 4_096;
const PAGE_BYTES = 4_096;

const pages = (bytes: number): number => Math.max(1, Math.ceil(bytes / PAGE_BYTES)) * PAGE_BYTES;

/**
 * The request head also holds the start block, whose environment is smaller than the headers and the target.
 */
export function geometryOf(limits: {
  workers: number;
  requestBytesMax: number;
  responseBytesMax: number;
}): RingGeometry {
  const startBytes = FUNCTION_BOUNDS.envBytesMax + FUNCTION_BOUNDS.envEntriesMax * 256;
  return {
    slots: limits.workers * WORKER_SLOTS,
    requestHeadBytes: pages(
      Math.max(REQUEST_BOUNDS.targetBytesMax + REQUEST_BOUNDS.headersBytesMax, startBytes) +
        METHOD_AND_ID_BYTES,
    ),
    requestBodyBytes: pages(limits.requestBytesMax),
    responseHeadBytes: pages(REQUEST_BOUNDS.responseHeadersBytesMax),
    responseBodyBytes: pages(limits.responseBytesMax),
    logBytes: pages(REQUEST_BOUNDS.logBytesMax + REQUEST_BOUNDS.logLinesMax * LOG_RECORD_BYTES),
  };
}
