// Packs the head of a request into the slot: method, target, headers and request id, one after the other.
import type { InvocationRequest } from '../../model/invocation.ts';

export type HeadLengths = { method: number; target: number; headers: number; requestId: number };

const ENCODER = new TextEncoder();
const LATIN1 = /^[\0-\xff]*$/;

/**
 * Writes the head into `memory` and its lengths in bytes into `lengths`; false when it does not fit, and then
 * `memory` holds a part of it. Text goes out as Latin-1, as header bytes came in; wider text as UTF-8.
 */
export function encodeRequestHead(
  request: InvocationRequest,
  memory: Uint8Array,
  lengths: HeadLengths,
): boolean {
  const { method, target, headers, requestId } = request;
  const length = method.length + target.length + headers.length + requestId.length;
  if (length > memory.length) return false;
  const { read, written } = ENCODER.encodeInto(method + target + headers + requestId, memory);
  // As many bytes as UTF-16 units, and no unit left: every unit was ASCII.
  if (read === length && written === length) {
    lengths.method = method.length;
    lengths.target = target.length;
    lengths.headers = headers.length;
    lengths.requestId = requestId.length;
    return true;
  }
  let at = 0;
  const put = (text: string): number => {
    const bytes = Buffer.from(text, LATIN1.test(text) ? 'latin1' : 'utf8');
    if (at + bytes.length <= memory.length) memory.set(bytes, at);
    at += bytes.length;
    return bytes.length;
  };
  lengths.method = put(method);
  lengths.target = put(target);
  lengths.headers = put(headers);
  lengths.requestId = put(requestId);
  return at <= memory.length;
}
