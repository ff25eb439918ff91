// Request bodies: read whole, bounded in size, in time, and in the bytes that all of them hold together.
import type { Clock } from '../../base/clock.ts';
import { joinChunks } from '../../base/streams.ts';

export type BodyOutcome =
  | { ok: true; body: Uint8Array }
  | { ok: false; code: 'request_too_large' | 'request_timeout' | 'bodies_full' | 'bad_request' };

export type BodyLimits = {
  requestBytesMax: number;
  /** From the first read to the last byte, however steadily bytes trickle in. */
  requestBodyMs: number;
  /** Of all bodies on this node, until `release`. */
  requestBodiesBytesMax: number;
};

export type Bodies = {
  /** On success the bytes stay counted until they are released. */
  read(request: Request, contentLength: number | null): Promise<BodyOutcome>;
  release(body: Uint8Array): void;
  heldBytes(): number;
};

export function createBodies(options: { clock: Clock; limits: BodyLimits }): Bodies {
  const { clock, limits } = options;
  let held = 0;

  const readAll = async (body: ReadableStream<Uint8Array>): Promise<BodyOutcome> => {
    const reader = body.getReader();
    const finished = new AbortController();
    let isLate = false;
    void clock.sleep(limits.requestBodyMs, finished.signal).then(() => {
      if (finished.signal.aborted) return;
      isLate = true;
      reader.cancel().catch(() => {});
    });
    const chunks: Uint8Array[] = [];
    let length = 0;
    const fail = (code: 'request_too_large' | 'bodies_full'): BodyOutcome => {
      held -= length;
      reader.cancel().catch(() => {});
      return { ok: false, code };
    };
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (isLate) {
          held -= length;
          return { ok: false, code: 'request_timeout' };
        }
        if (done) return { ok: true, body: joinChunks(chunks, length) };
        length += value.byteLength;
        held += value.byteLength;
        if (length > limits.requestBytesMax) return fail('request_too_large');
        if (held > limits.requestBodiesBytesMax) return fail('bodies_full');
        chunks.push(value);
      }
    } catch {
      held -= length;
      return { ok: false, code: isLate ? 'request_timeout' : 'bad_request' };
    } finally {
      finished.abort();
    }
  };

  return {
    async read(request, contentLength) {
      if (contentLength !== null && Number.isNaN(contentLength)) return { ok: false, code: 'bad_request' };
      if ((contentLength ?? 0) > limits.requestBytesMax) return { ok: false, code: 'request_too_large' };
      if (request.body === null) return { ok: true, body: new Uint8Array(0) };
      return await readAll(request.body);
    },
    release(body) {
      held -= body.byteLength;
    },
    heldBytes: () => held,
  };
}
