// Reads the lines that a guest logged from the log area of its slot: hostile bytes, every length checked.
import { REQUEST_BOUNDS } from '../../base/limits/request.ts';
import type { GuestLogLine, InvocationLogs } from '../../model/invocation.ts';

const RECORD_HEAD_BYTES = 8;
const LEVEL_MAX = 4;

/** `bytes` is a copy of the records. A record out of bounds ends the reading and counts as dropped. */
export function decodeLogRecords(bytes: Uint8Array, dropped: number): InvocationLogs {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const decoder = new TextDecoder();
  const lines: GuestLogLine[] = [];
  let at = 0;
  while (at + RECORD_HEAD_BYTES <= bytes.length && lines.length < REQUEST_BOUNDS.logLinesMax) {
    const level = view.getUint32(at, true);
    const length = view.getUint32(at + 4, true);
    const start = at + RECORD_HEAD_BYTES;
    if (level > LEVEL_MAX || length > bytes.length - start) break;
    lines.push({ level, text: decoder.decode(bytes.subarray(start, start + length)) });
    at = start + Math.ceil(length / 4) * 4;
  }
  return { lines, dropped: dropped + (at < bytes.length ? 1 : 0) };
}
