// The memory of the slots as JavaScript sees it: views that last for small things, copies of everything that
// is read.
import { type Pointer, toArrayBuffer } from 'bun:ffi';
import { PART, type RingGeometry } from './geometry.ts';
import type { RingSymbols } from './library.ts';

/** What is read is a copy; lengths beyond the geometry are cut. After `close` nothing may be called. */
export type SlotViews = {
  requestHead(slot: number): Uint8Array;
  writeBody(slot: number, body: Uint8Array): void;
  responseHead(slot: number, bytes: number): string;
  responseBody(slot: number, bytes: number): Uint8Array;
  log(slot: number, bytes: number): Uint8Array;
  close(): void;
};

/** Bodies up to this size go through a lasting view; a larger one gets a view of its own for the moment. */
const NEAR_BODY_BYTES = 65_536;

type Views = { near: Buffer; requestHead: Uint8Array; requestBody: Uint8Array; responseBody: Uint8Array };

export function createSlotViews(options: {
  symbols: RingSymbols;
  ring: Pointer;
  geometry: RingGeometry;
}): SlotViews {
  const { geometry, ring, symbols } = options;
  const { requestHeadBytes, requestBodyBytes, responseHeadBytes, responseBodyBytes, logBytes } = geometry;
  const offset = (part: number): number => symbols.edge_ring_offset(ring, part);
  const logAt = offset(PART.log);
  const responseHeadAt = offset(PART.responseHead);
  const requestHeadAt = offset(PART.requestHead);
  const requestBodyAt = offset(PART.requestBody);
  const responseBodyAt = offset(PART.responseBody);
  const view = (slot: number, from: number, bytes: number): Uint8Array => {
    const start = symbols.edge_ring_slot(ring, slot);
    if (start === null) throw new Error(`the ring has no slot ${slot}`);
    return new Uint8Array(toArrayBuffer(start, from, bytes));
  };
  const views: (Views | undefined)[] = [];
  const viewsOf = (slot: number): Views => {
    const known = views[slot];
    if (known !== undefined) return known;
    const near = view(slot, 0, requestBodyAt);
    const made: Views = {
      near: Buffer.from(near.buffer, near.byteOffset, near.byteLength),
      requestHead: near.subarray(requestHeadAt, requestHeadAt + requestHeadBytes),
      requestBody: view(slot, requestBodyAt, Math.min(requestBodyBytes, NEAR_BODY_BYTES)),
      responseBody: view(slot, responseBodyAt, Math.min(responseBodyBytes, NEAR_BODY_BYTES)),
    };
    views[slot] = made;
    return made;
  };
  return {
    requestHead: (slot) => viewsOf(slot).requestHead,
    writeBody(slot, body) {
      const near = viewsOf(slot).requestBody;
      const target = body.byteLength <= near.length ? near : view(slot, requestBodyAt, body.byteLength);
      target.set(body);
    },
    responseHead(slot, bytes) {
      if (bytes === 0) return '';
      return viewsOf(slot).near.toString(
        'latin1',
        responseHeadAt,
        responseHeadAt + Math.min(bytes, responseHeadBytes),
      );
    },
    responseBody(slot, bytes) {
      const near = viewsOf(slot).responseBody;
      if (bytes <= near.length) return near.slice(0, bytes);
      return view(slot, responseBodyAt, Math.min(bytes, responseBodyBytes)).slice();
    },
    log: (slot, bytes) =>
      new Uint8Array(viewsOf(slot).near.subarray(logAt, logAt + Math.min(bytes, logBytes))),
    close() {
      views.length = 0;
    },
  };
}
