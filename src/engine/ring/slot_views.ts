// The memory of the slots as JavaScript sees it: writes go into lasting views, every read is a copy.
import { type Library, type Pointer, toArrayBuffer } from 'bun:ffi';
import { PART, type RingGeometry } from './geometry.ts';
import type { RING_SYMBOLS } from './symbols.ts';

/** Lengths beyond the geometry are cut. After `close` nothing may be called. */
export type SlotViews = {
  requestHead(slot: number): Uint8Array;
  writeBody(slot: number, body: Uint8Array): void;
  responseHead(slot: number, bytes: number): string;
  responseBody(slot: number, bytes: number): Uint8Array;
  log(slot: number, bytes: number): Uint8Array;
  close(): void;
};

/** Bodies up to this size go through a lasting view; a larger body gets a view for one call. */
const LASTING_BODY_BYTES = 65_536;

/** `head` covers a slot up to its request body. */
type Views = { head: Buffer; requestHead: Uint8Array; requestBody: Uint8Array; responseBody: Uint8Array };

export function createSlotViews(options: {
  symbols: Pick<Library<typeof RING_SYMBOLS>['symbols'], 'edge_ring_offset' | 'edge_ring_slot'>;
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
    const head = view(slot, 0, requestBodyAt);
    const made: Views = {
      head: Buffer.from(head.buffer, head.byteOffset, head.byteLength),
      requestHead: head.subarray(requestHeadAt, requestHeadAt + requestHeadBytes),
      requestBody: view(slot, requestBodyAt, Math.min(requestBodyBytes, LASTING_BODY_BYTES)),
      responseBody: view(slot, responseBodyAt, Math.min(responseBodyBytes, LASTING_BODY_BYTES)),
    };
    views[slot] = made;
    return made;
  };
  return {
    requestHead: (slot) => viewsOf(slot).requestHead,
    writeBody(slot, body) {
      const lasting = viewsOf(slot).requestBody;
      const target = body.byteLength <= lasting.length ? lasting : view(slot, requestBodyAt, body.byteLength);
      target.set(body);
    },
    responseHead(slot, bytes) {
      if (bytes === 0) return '';
      return viewsOf(slot).head.toString(
        'latin1',
        responseHeadAt,
        responseHeadAt + Math.min(bytes, responseHeadBytes),
      );
    },
    responseBody(slot, bytes) {
      const lasting = viewsOf(slot).responseBody;
      if (bytes <= lasting.length) return lasting.slice(0, bytes);
      return view(slot, responseBodyAt, Math.min(bytes, responseBodyBytes)).slice();
    },
    log: (slot, bytes) =>
      new Uint8Array(viewsOf(slot).head.subarray(logAt, logAt + Math.min(bytes, logBytes))),
    close() {
      views.length = 0;
    },
  };
}
