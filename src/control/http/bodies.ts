// Request bodies, read with a bound while they arrive.
import type { Clock } from '../../base/clock.ts';
import { CodedError } from '../../base/errors.ts';
import { CONTROL_BOUNDS } from '../../base/limits/control.ts';

/** The whole body; refuses `request_too_large` as soon as it passes `bytesMax`. */
export async function readBody(request: Request, bytesMax: number): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of boundedBody(request, bytesMax) ?? []) {
    chunks.push(chunk);
    size += chunk.byteLength;
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

/**
 * The body as a stream that fails with `request_too_large` once it passes `bytesMax`; null where there is
 * none.
 */
export function boundedBody(request: Request, bytesMax: number): ReadableStream<Uint8Array> | null {
  const refusal = (): CodedError => new CodedError('request_too_large', { details: { bytes_max: bytesMax } });
  if (Number(request.headers.get('content-length') ?? 0) > bytesMax) throw refusal();
  let size = 0;
  const bound = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      size += chunk.byteLength;
      if (size > bytesMax) controller.error(refusal());
      else controller.enqueue(chunk);
    },
  });
  return request.body?.pipeThrough(bound) ?? null;
}

/**
 * `body` as a stream that fails with `request_timeout` where its end has not come `ms` after the first read,
 * however steadily bytes trickle in; null where there is none.
 */
export function timedBody(
  body: ReadableStream<Uint8Array> | null,
  { clock, ms }: { clock: Clock; ms: number },
): ReadableStream<Uint8Array> | null {
  if (body === null) return null;
  const over = new AbortController();
  const reader = body.getReader();
  let isLate = false;
  const watch = async (): Promise<void> => {
    await clock.sleep(ms, over.signal);
    if (over.signal.aborted) return;
    isLate = true;
    await reader.cancel();
  };
  let watching: Promise<void> | null = null;
  const source = {
    async pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
      watching ??= watch().catch(() => undefined);
      try {
        const { done, value } = await reader.read();
        if (isLate) throw new CodedError('request_timeout');
        if (!done) return controller.enqueue(value);
        over.abort();
        controller.close();
      } catch (failure) {
        over.abort();
        throw isLate ? new CodedError('request_timeout') : failure;
      }
    },
    async cancel(): Promise<void> {
      over.abort();
      await reader.cancel();
    },
  };
  return new ReadableStream<Uint8Array>(source, { highWaterMark: 0 });
}

const JSON_TYPE = /^application\/([\w.-]+\+)?json\s*(;|$)/i;

/**
 * A parser for Elysia's `parse` hook. No body is the empty object. Refuses `malformed_json`,
 * `request_too_large`, and `bad_request` for another content type.
 */
export function jsonUpTo(bytesMax: number): (context: { request: Request }) => Promise<unknown> {
  return async ({ request }) => {
    const type = request.headers.get('content-type');
    if (type !== null && !JSON_TYPE.test(type)) {
      throw new CodedError('bad_request', { message: 'The body must be of the type application/json.' });
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

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENING = new Set([0x5b, 0x7b]);
const CLOSING = new Set([0x5d, 0x7d]);

/**
 * How deep lists and objects nest, read from the bytes before anything recursive sees them: schema errors of
 * values that nest a hundred thousand levels take seconds to describe.
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

/** The body of an ordinary API request. */
export const jsonBody = jsonUpTo(CONTROL_BOUNDS.jsonBodyBytesMax);
