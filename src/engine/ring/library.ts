// libedge_ring.so in this process, and sealed memory: the only bytes that a worker or the compiler gets to
// load.
import { dlopen, type Library } from 'bun:ffi';
import { RING_SYMBOLS } from './symbols.ts';

export type RingSymbols = Library<typeof RING_SYMBOLS>['symbols'];

/** Memory that nobody can change any more, by descriptor; `bytes` is its length. */
export type SealedMemory = { readonly fd: number; readonly bytes: number; close(): void };

export type RingLibrary = {
  readonly symbols: RingSymbols;
  /** Copies `bytes`; the caller closes what it gets. Throws when the system gives no memory or descriptor. */
  seal(bytes: Uint8Array): SealedMemory;
};

/** Arrays below this size may be moved by the JavaScript engine while C reads them. */
const OWN_BUFFER_BYTES_MIN = 4_096;

/** It stays loaded until the process ends: sealed memory may be closed at any time. */
export function openRingLibrary(libraryDir: string): RingLibrary {
  const { symbols } = dlopen(`${libraryDir}/libedge_ring.so`, RING_SYMBOLS);
  return {
    symbols,
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
  };
}

/** `bytes`, or a copy over an ArrayBuffer of its own that is too large to be moved. */
export function steady(bytes: Uint8Array): Uint8Array {
  if (bytes.byteLength >= OWN_BUFFER_BYTES_MIN) return bytes;
  const copy = new Uint8Array(new ArrayBuffer(OWN_BUFFER_BYTES_MIN));
  copy.set(bytes);
  return copy;
}
