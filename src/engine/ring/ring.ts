// The ring as the edge uses it: requests and answers in slots, packets to the zygote, sealed memory.
import { dlopen, type Library, type Pointer, toArrayBuffer } from 'bun:ffi';
import type {
  GuestFault,
  InvocationLogs,
  InvocationOutcome,
  InvocationRequest,
} from '../../model/invocation.ts';
import { createAnswerReader, TAKEN } from './answer.ts';
import { checkLayout, HINT, PHASE, type RingGeometry } from './geometry.ts';
import { encodeRequestHead, type HeadLengths } from './request_head.ts';
import { SLOT } from './results.ts';
import { createSlotViews } from './slot_views.ts';
import { RING_SYMBOLS } from './symbols.ts';

/** Memory that nobody can change after it was made, by descriptor; `bytes` is its length. */
export type SealedMemory = { readonly fd: number; readonly bytes: number; close(): void };

/** libedge_ring.so in this process. It stays loaded until the process ends. */
export type RingLibrary = {
  /** Copies `bytes`; the caller closes the result. Throws when the system gives no memory or descriptor. */
  seal(bytes: Uint8Array): SealedMemory;
  /** This process takes no more connections on a port; those that are open stay. False where it cannot. */
  stopListening(port: number): boolean;
  /** Throws when the library has another layout than this program, or the system gives no memory. */
  open(geometry: RingGeometry): Ring;
};

/** `lost`: the worker of this generation does not wait for a request. */
export type PostOutcome = 'posted' | 'lost' | 'request_too_large' | 'headers_too_large';

/** What a worker reports in a slot. `broken`: it lied about a length, so nothing of its answer was read. */
export type RingEvent = { slot: number; generation: number } & (
  | { kind: 'ready' }
  | { kind: 'start_failed'; fault: GuestFault }
  | { kind: 'answer'; outcome: InvocationOutcome; cpuUs: number }
  | { kind: 'broken' }
);

/** What a worker says of itself; not trusted. */
export type WorkerHints = {
  /** It died, if it did, while the guest ran. */
  isInGuest: boolean;
  /** It is still making its instance pristine after the last request. */
  isRecycling: boolean;
};

export type WorkerStart = { slot: number; generation: number; codeFd: number; startBlock: Uint8Array };

export type CompileRequest = {
  id: number;
  moduleFd: number;
  /** RLIMIT_DATA beyond what the child starts with. */
  memoryBytes: number;
  cpuSeconds: number;
  /** Absolute; where the child writes the compiled file. */
  path: string;
};

/** Slots go by number, a worker by its first slot. After `close` nothing may be called. */
export type Ring = {
  readonly geometry: RingGeometry;
  /** The child's end of a fresh command socket; the caller closes it with `closeFd`. Throws. */
  openCommand(): number;
  closeCommand(): void;
  closeFd(fd: number): void;
  /** False when the start block does not fit or the zygote takes no packet. */
  fork(worker: WorkerStart): boolean;
  /** Asks the zygote whether it still obeys; it answers with an event. */
  ping(): void;
  /** Processor time of a worker's process so far, in milliseconds; null when it has ended. */
  cpuMs(pid: number): number | null;
  /** Takes what the zygote sent for the children that it has forked. */
  adopt(): void;
  /** True once the worker will die whatever the zygote does; until then, or until it is reaped, call again. */
  kill(slot: number, generation: number): boolean;
  /** False when the zygote takes no packet. */
  compile(request: CompileRequest): boolean;
  /** As `kill`. */
  cancelCompile(id: number): boolean;
  post(slot: number, generation: number, request: InvocationRequest): PostOutcome;
  /** Takes back a request that the worker has not begun; false when it has. */
  withdraw(slot: number, generation: number): boolean;
  /**
   * The next report of any worker; null once all have been taken. Each start and each answer is taken once;
   * an answer is copied out and its slot takes the next request. Call it until it returns null.
   */
  next(): RingEvent | null;
  /** The report of one slot, also where its worker woke nobody. Not while `next` has more. */
  poll(slot: number, generation: number): RingEvent | null;
  /**
   * What the guest has logged of the request in this slot, which has no answer, or of the start in it, which
   * has not succeeded, read and checked as the logs of an answer are; null where it logged nothing. A worker
   * that runs may go on writing.
   */
  logs(slot: number, generation: number): InvocationLogs | null;
  /** After a worker has exited: gives back the memory of its slots. */
  free(slot: number): void;
  hints(slot: number): WorkerHints;
  /** Whether a worker has filled more of its shared memory than its requests may need. */
  hoards(slot: number): boolean;
  close(): void;
};

/** `EDGE_TAKEN_MAX`: the records of one drain; more are left for the next. */
const RECORDS_MAX = 1_024;
/** `edge_process_cpu_ms` found no such process. */
const NO_PROCESS = 0xffff_ffff;
/** Arrays below this size may be moved by the JavaScript engine while C reads them. */
const OWN_BUFFER_BYTES_MIN = 4_096;

export type RingSymbols = Library<typeof RING_SYMBOLS>['symbols'];

export function openRingLibrary(libraryDir: string): RingLibrary {
  return bindRingLibrary(dlopen(`${libraryDir}/libedge_ring.so`, RING_SYMBOLS).symbols);
}

export function bindRingLibrary(symbols: RingSymbols): RingLibrary {
  return {
    seal(bytes) {
      const fd = symbols.edge_code_open(steady(bytes), bytes.byteLength);
      if (fd < 0) throw new Error(`the system gave no sealed memory: errno ${symbols.edge_ring_errno()}`);
      let isOpen = true;
      return {
        fd,
        bytes: bytes.byteLength,
        close() {
          if (isOpen) symbols.edge_fd_close(fd);
          isOpen = false;
        },
      };
    },
    stopListening: (port) => symbols.edge_listener_stop(port) > 0,
    open: (geometry) => createRing(symbols, openMemory(symbols, geometry), geometry),
  };
}

function createRing(symbols: RingSymbols, ring: Pointer, geometry: RingGeometry): Ring {
  const views = createSlotViews({ symbols, ring, geometry });
  const lengths: HeadLengths = { method: 0, target: 0, headers: 0, requestId: 0 };
  const reports = createReports(symbols, ring, views);
  return {
    geometry,
    openCommand() {
      const fd = symbols.edge_ring_command_open(ring);
      if (fd >= 0) return fd;
      throw new Error(`the command socket could not be opened: errno ${symbols.edge_ring_errno()}`);
    },
    closeCommand: () => symbols.edge_ring_command_close(ring),
    closeFd: (fd) => symbols.edge_fd_close(fd),
    fork({ slot, generation, codeFd, startBlock }) {
      const bytes = steady(startBlock);
      return symbols.edge_ring_fork(ring, slot, generation, codeFd, bytes, startBlock.length) === 0;
    },
    ping: () => void symbols.edge_ring_ping(ring),
    cpuMs(pid) {
      const cpuMs = symbols.edge_process_cpu_ms(pid);
      return cpuMs === NO_PROCESS ? null : cpuMs;
    },
    adopt: () => symbols.edge_ring_adopt(ring),
    kill: (slot, generation) => symbols.edge_ring_kill(ring, slot, generation) === 0,
    compile({ id, moduleFd, memoryBytes, cpuSeconds, path }) {
      const text = new TextEncoder().encode(path);
      const bytes = steady(text);
      return symbols.edge_ring_compile(ring, id, moduleFd, memoryBytes, cpuSeconds, bytes, text.length) === 0;
    },
    cancelCompile: (id) => symbols.edge_ring_cancel(ring, id) === 0,
    post(slot, generation, request) {
      if (!encodeRequestHead(request, views.requestHead(slot), lengths)) return 'headers_too_large';
      const { body } = request;
      const bodyBytes = body === null ? 0 : body.byteLength;
      if (bodyBytes > geometry.requestBodyBytes) return 'request_too_large';
      if (body !== null) views.writeBody(slot, body);
      const { method, target, headers, requestId } = lengths;
      const posted = symbols.edge_ring_post(
        ring,
        slot,
        generation,
        method,
        target,
        headers,
        requestId,
        bodyBytes,
      );
      return posted === 0 ? 'posted' : 'lost';
    },
    withdraw: (slot, generation) => symbols.edge_ring_withdraw(ring, slot, generation) === 0,
    next: reports.next,
    poll: reports.poll,
    logs: reports.logs,
    free: (slot) => symbols.edge_ring_free(ring, slot),
    hoards: (slot) => symbols.edge_ring_excess_pages(ring, slot) > 0,
    hints(slot) {
      const hints = symbols.edge_ring_hints(ring, slot);
      return {
        isInGuest: (hints & HINT.phaseMask) === PHASE.guest,
        isRecycling: (hints & HINT.recycling) !== 0,
      };
    },
    close() {
      views.close();
      symbols.edge_ring_close(ring);
    },
  };
}

/** Turns the records of `edge_ring_drain` and `edge_ring_look` into events. */
function createReports(
  symbols: RingSymbols,
  ring: Pointer,
  views: ReturnType<typeof createSlotViews>,
): Pick<Ring, 'next' | 'poll' | 'logs'> {
  const memory = symbols.edge_ring_taken(ring);
  if (memory === null) throw new Error('the ring has no records');
  const taken = new Uint32Array(toArrayBuffer(memory, 0, RECORDS_MAX * TAKEN.words * 4));
  const takenSigned = new Int32Array(taken.buffer);
  const read = createAnswerReader({ views, taken, takenSigned });
  let at = 0;
  let end = 0;
  const eventAt = (record: number): RingEvent => {
    const slot = taken[record + TAKEN.slot] ?? 0;
    const generation = taken[record + TAKEN.generation] ?? 0;
    const state = taken[record + TAKEN.state];
    if (state === SLOT.done) {
      if (taken[record + TAKEN.isValid] !== 1) return { kind: 'broken', slot, generation };
      const outcome = read.answer(record);
      symbols.edge_ring_release(ring, slot, generation);
      return { kind: 'answer', slot, generation, outcome, cpuUs: taken[record + TAKEN.cpuUs] ?? 0 };
    }
    if (state === SLOT.ready) return { kind: 'ready', slot, generation };
    return { kind: 'start_failed', slot, generation, fault: read.startFault(record) };
  };
  return {
    next() {
      if (at === end) {
        const wasLast = end > 0 && end < taken.length;
        at = 0;
        end = wasLast ? 0 : symbols.edge_ring_drain(ring, RECORDS_MAX) * TAKEN.words;
        if (end === 0) return null;
      }
      const event = eventAt(at);
      at += TAKEN.words;
      return event;
    },
    poll: (slot, generation) => (symbols.edge_ring_look(ring, slot, generation) === 1 ? eventAt(0) : null),
    logs(slot, generation) {
      // Record 0 is free: whoever asks has taken the first event of the drain.
      if (symbols.edge_ring_logged(ring, slot, generation) !== 1) return null;
      return read.logs(slot, taken[TAKEN.logBytes] ?? 0, taken[TAKEN.logDropped] ?? 0);
    },
  };
}

function openMemory(symbols: RingSymbols, geometry: RingGeometry): Pointer {
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

/** `bytes`, or a copy over an ArrayBuffer of its own that is too large to be moved. */
function steady(bytes: Uint8Array): Uint8Array {
  if (bytes.byteLength >= OWN_BUFFER_BYTES_MIN) return bytes;
  const copy = new Uint8Array(new ArrayBuffer(OWN_BUFFER_BYTES_MIN));
  copy.set(bytes);
  return copy;
}
