// Reads request bodies whole, with a bound, and parses JSON ones.
import { CodedError } from '../../base/errors.ts';
import { CONTROL_BOUNDS } from '../../base/limits/control.ts';
import { readStream } from '../../base/streams.ts';

/** The whole body. Refuses `request_too_large` as soon as the body, or its announced length, is too long. */
export async function readBody(request: Request, bytesMax: number): Promise<Uint8Array<ArrayBuffer>> {
  const announced = Number(request.headers.get('content-length') ?? 0);
  const bytes = announced > bytesMax ? null : await readStream(request.body, bytesMax);
  if (bytes === null) throw new CodedError('request_too_large', { details: { bytes_max: bytesMax } });
  return bytes;
}

const JSON_TYPE = /^application\/([\w.-]+\+)?json\s*(;|$)/i;

/**
 * A parser for Elysia's `parse` hook; no body is the empty object. Refuses `malformed_json`,
 * `request_too_large`, and `bad_request` for another content type.
 */
export function jsonUpTo(bytesMax: number): (context: { request: Request }) => Promise<unknown> {
  return async ({ request }) => {
    const type = request.headers.get('content-type');
    if (type !== null && !JSON_TYPE.test(type)) {
      throw new CodedError('bad_request', { message: 'Send the body as application/json.' });
    }
    const bytes = await readBody(request, bytesMax);
    if (bytes.byteLength === 0) return {};
    if (jsonDepth(bytes) > CONTROL_BOUNDS.jsonDepthMax) {
      throw new CodedError('malformed_json', {
        message: `The body nests deeper than ${CONTROL_BOUNDS.jsonDepthMax} levels.`,
      });
    }
    try {
      return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown;
    } catch {
      throw new CodedError('malformed_json');
    }
  };
}

/** The parser for an ordinary API request. */
export const jsonBody = jsonUpTo(CONTROL_BOUNDS.jsonBodyBytesMax);

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENING = new Set([0x5b, 0x7b]);
const CLOSING = new Set([0x5d, 0x7d]);

/**
 * How deep lists and objects nest, counted over the bytes. Describing the schema errors of a value that nests
 * a hundred thousand levels takes seconds, so such a body is refused before anything recursive reads it.
 */
function jsonDepth(bytes: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  let quoted = false;
  for (let at = 0; at < bytes.byteLength; at += 1) {
    const byte = bytes[at] ?? 0;
    if (quoted) {
      if (byte === BACKSLASH) at += 1;
      else if (byte === QUOTE) quoted = false;
    } else if (byte === QUOTE) quoted = true;
    else if (OPENING.has(byte)) {
      depth += 1;
      deepest = Math.max(deepest, depth);
    } else if (CLOSING.has(byte)) depth -= 1;
  }
  return deepest;
}
