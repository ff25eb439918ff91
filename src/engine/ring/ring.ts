// One ring from open to close: typed access to its slots and to the packets that go to the zygote.
import { type Pointer, toArrayBuffer } from 'bun:ffi';
import type { InvocationRequest } from '../../model/invocation.ts';
import { checkLayout, type RingGeometry } from './geometry.ts';
import { encodeRequestHead, type HeadLengths } from './request_head.ts';
import { type RingLibrary, steady } from './library.ts';
import { createSlotViews } from './slot_views.ts';

/** `lost`: the worker of this generation does not wait for a request. */
export type PostOutcome = 'posted' | 'lost' | 'request_too_large' | 'headers_too_large';

/** Positions in a record of `Ring.taken` (`edge_ring_drain`). */
export const TAKEN = {
  slot: 0,
  generation: 1,
  state: 2,
  result: 3,
  detail: 4,
  status: 5,
  responseHeadBytes: 6,
  responseBodyBytes: 7,
  logBytes: 8,
  logDropped: 9,
  cpuUs: 10,
  isValid: 11,
  words: 12,
} as const;

/**
 * Slots are named by number, a worker by its first slot (`fork`, `kill`, `free`, `hints`); after `close`
 * nothing may be called.
 */
export type Ring = {
  readonly memfd: number;
  /** The child's end of a fresh command socket; the caller closes it with `closeFd`. */
  openCommand(): number;
  closeCommand(): void;
  closeFd(fd: number): void;
  /**
   * Writes the start block and asks for a fork; false when the block does not fit or the zygote takes no
   * packet.
   */
  fork(worker: { slot: number; generation: number; codeFd: number; startBlock: Uint8Array }): boolean;
  kill(slot: number, generation: number): void;
  compile(job: {
    id: number;
    moduleFd: number;
    memoryBytes: number;
    cpuSeconds: number;
    path: string;
  }): boolean;
  cancelCompile(id: number): void;
  post(slot: number, generation: number, request: InvocationRequest): PostOutcome;
  /** Takes back a request that the worker has not begun; false when it has. */
  withdraw(slot: number, generation: number): boolean;
  /** Takes every finished slot into `taken` and returns how many there are; see `TAKEN`. */
  drain(): number;
  /** The same for one slot, at record 0. */
  look(slot: number, generation: number): boolean;
  readonly taken: Uint32Array;
  readonly takenSigned: Int32Array;
  /** Copies; lengths come from a record that is valid. */
  responseHead(slot: number, bytes: number): string;
  responseBody(slot: number, bytes: number): Uint8Array;
  log(slot: number, bytes: number): Uint8Array;
  release(slot: number, generation: number): void;
  free(slot: number): void;
  /** What the worker says of itself: bits 0 to 7 phase, bit 8 that recycling lags. */
  hints(slot: number): number;
  close(): void;
};

/** `EDGE_TAKEN_MAX`: more are left for the next call. */
const RECORDS_MAX = 1_024;

export function openRing(options: { library: RingLibrary; geometry: RingGeometry }): Ring {
  const { geometry, library } = options;
  const { symbols } = library;
  const { requestBodyBytes } = geometry;
  const ring = openMemory(library, geometry);
  const views = createSlotViews({ symbols, ring, geometry });
  const records = symbols.edge_ring_taken(ring);
  if (records === null) throw new Error('the ring has no records');
  const taken = new Uint32Array(toArrayBuffer(records, 0, RECORDS_MAX * TAKEN.words * 4));
  const lengths: HeadLengths = { method: 0, path: 0, headers: 0, requestId: 0 };
  return {
    memfd: symbols.edge_ring_memfd(ring),
    taken,
    takenSigned: new Int32Array(taken.buffer),
    openCommand() {
      const fd = symbols.edge_ring_command_open(ring);
      if (fd < 0)
        throw new Error(`the command socket could not be opened: errno ${symbols.edge_ring_errno()}`);
      return fd;
    },
    closeCommand: () => symbols.edge_ring_command_close(ring),
    closeFd: (fd) => symbols.edge_fd_close(fd),
    fork({ slot, generation, codeFd, startBlock }) {
      const head = views.requestHead(slot);
      if (startBlock.length > head.length) return false;
      head.set(startBlock);
      return symbols.edge_ring_fork(ring, slot, generation, codeFd) === 0;
    },
    kill: (slot, generation) => void symbols.edge_ring_kill(ring, slot, generation),
    compile({ id, moduleFd, memoryBytes, cpuSeconds, path }) {
      const text = new TextEncoder().encode(path);
      const bytes = steady(text);
      return symbols.edge_ring_compile(ring, id, moduleFd, memoryBytes, cpuSeconds, bytes, text.length) === 0;
    },
    cancelCompile: (id) => void symbols.edge_ring_cancel(ring, id),
    post(slot, generation, request) {
      if (!encodeRequestHead(request, views.requestHead(slot), lengths)) return 'headers_too_large';
      const { body } = request;
      const bodyBytes = body === null ? 0 : body.byteLength;
      if (bodyBytes > requestBodyBytes) return 'request_too_large';
      if (body !== null) views.writeBody(slot, body);
      const { method, path, headers, requestId } = lengths;
      const posted = symbols.edge_ring_post(
        ring,
        slot,
        generation,
        method,
        path,
        headers,
        requestId,
        bodyBytes,
      );
      return posted === 0 ? 'posted' : 'lost';
    },
    withdraw: (slot, generation) => symbols.edge_ring_withdraw(ring, slot, generation) === 0,
    drain: () => symbols.edge_ring_drain(ring, RECORDS_MAX),
    look: (slot, generation) => symbols.edge_ring_look(ring, slot, generation) === 1,
    responseHead: views.responseHead,
    responseBody: views.responseBody,
    log: views.log,
    release: (slot, generation) => void symbols.edge_ring_release(ring, slot, generation),
    free: (slot) => symbols.edge_ring_free(ring, slot),
    hints: (slot) => symbols.edge_ring_hints(ring, slot),
    close() {
      views.close();
      symbols.edge_ring_close(ring);
    },
  };
}

function openMemory({ symbols }: RingLibrary, geometry: RingGeometry): Pointer {
  checkLayout(symbols.edge_ring_layout_version());
  const opened = symbols.edge_ring_open(
    geometry.slots,
    geometry.requestHeadBytes,
    geometry.requestBodyBytes,
    geometry.responseHeadBytes,
    geometry.responseBodyBytes,
    geometry.logBytes,
  );
  if (opened === null) throw new Error(`the ring could not be opened: errno ${symbols.edge_ring_errno()}`);
  return opened as Pointer;
}
