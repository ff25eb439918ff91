// The shape of the ring: the numbers of native/ring.h on this side, and how large the parts of a slot are.
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import { REQUEST_BOUNDS } from '../../base/limits/request.ts';
import { EngineUnusable } from './process_exit.ts';

/** What both sides of a ring must have in common (`EDGE_LAYOUT_VERSION`). */
export const LAYOUT_VERSION = 4;

/** Requests that a worker may have at once, of which it serves one (`EDGE_WORKER_SLOTS`). */
export const WORKER_SLOTS = 8;

/** Generations of a slot count from 1 to this and then from 1 again (`EDGE_GENERATION_MAX`). */
export const GENERATION_MAX = 0xff_ffff;

/** Parts of a slot as `edge_ring_offset` numbers them (`enum edge_part`). */
export const PART = { log: 0, responseHead: 1, requestHead: 2, requestBody: 3, responseBody: 4 } as const;

/** What a worker is doing (`enum edge_phase`). */
export const PHASE = { host: 0, guest: 1 } as const;

/** Bits of `edge_ring_hints` (`enum edge_hint`). */
export const HINT = { phaseMask: 0xff, recycling: 0x100 } as const;

/** The parts of a slot start and end at multiples of this (`EDGE_PAGE`). */
export const PAGE_BYTES = 4_096;

/** The number of slots, and the bytes of each part of a slot in whole pages. */
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

/** A log record is two words, its bytes, and padding to a multiple of four. */
const LOG_RECORD_BYTES = 12;
const METHOD_AND_ID_BYTES = 4_096;

/** Throws an `EngineUnusable` when libedge_ring.so was built with another layout of the ring than this program. */
export function checkLayout(libraryVersion: number): void {
  if (libraryVersion === LAYOUT_VERSION) return;
  throw new EngineUnusable(
    `libedge_ring.so has ring layout ${libraryVersion}, this program has ${LAYOUT_VERSION}: ` +
      'rebuild both with `bun build.ts`, or install the executable again',
  );
}

const pages = (bytes: number): number => Math.max(1, Math.ceil(bytes / PAGE_BYTES)) * PAGE_BYTES;

/**
 * A ring for `workers` workers whose requests and responses have bodies up to these sizes. The request head
 * holds the start block of a worker too.
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
