// A lock on a directory itself: no removal of a file in it lets another process take it as well.
import { dlopen, FFIType, type Pointer, read } from 'bun:ffi';
import { closeSync, constants, openSync } from 'node:fs';

/** The kernel releases it when the process ends, however it ends. */
export type DirectoryLock = { close(): void };

const LOCK_EXCLUSIVE_AT_ONCE = 2 | 4;
const WOULD_BLOCK = 11;

/** Null while another process holds the lock. Throws where the directory cannot be opened or locked. */
export function lockDirectory(dir: string): DirectoryLock | null {
  const libc = dlopen('libc.so.6', {
    flock: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 },
    __errno_location: { args: [], returns: FFIType.ptr },
  });
  const { flock, __errno_location: errnoLocation } = libc.symbols;
  const file = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  const isLocked = flock(file, LOCK_EXCLUSIVE_AT_ONCE) === 0;
  const errno = isLocked ? 0 : errnoAt(errnoLocation());
  libc.close();
  if (isLocked) return { close: () => closeSync(file) };
  closeSync(file);
  if (errno === WOULD_BLOCK) return null;
  throw new Error(`${dir} cannot be locked: error ${errno} of flock`);
}

function errnoAt(location: Pointer | bigint | null): number {
  return typeof location === 'number' ? read.i32(location, 0) : 0;
}
