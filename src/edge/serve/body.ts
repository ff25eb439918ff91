// Request bodies: read whole, bounded in size, in time, and in the bytes of all bodies on this node.
import type { Clock } from '../../base/clock.ts';
import { joinChunks } from '../../base/streams.ts';

export type BodyOutcome =
  | { ok: true; body: Uint8Array }
  | { ok: false; code: 'request_too_large' | 'request_timeout' | 'bodies_full' | 'bad_request' };

export type BodyLimits = {
  requestBytesMax: number;
  /** From the first read to the last byte, however steadily bytes trickle in. */
  requestBodyMs: number;
  /** Of all bodies on this node, from their first byte until `release`. */
  requestBodiesBytesMax: number;
};

export type Bodies = {
  /** After a success the caller releases the body; a refused one is released already. */
  read(request: Request, contentLength: number | null): Promise<BodyOutcome>;
  release(body: Uint8Array): void;
  /** How many are being read at this moment. */
  unfinished(): number;
};

export function createBodies(options: { clock: Clock; limits: BodyLimits }): Bodies {
  const { clock, limits } = options;
  let bytesOfAll = 0;
  let reading = 0;

  const readAll = async (stream: ReadableStream<Uint8Array>): Promise<BodyOutcome> => {
    const reader = stream.getReader();
    const ended = new AbortController();
    let isLate = false;
    void clock.sleep(limits.requestBodyMs, ended.signal).then(() => {
      if (ended.signal.aborted) return;
      isLate = true;
      reader.cancel().catch(() => {});
    });
    const chunks: Uint8Array[] = [];
    let length = 0;
    const refuse = (code: 'request_too_large' | 'bodies_full'): BodyOutcome => {
      bytesOfAll -= length;
      reader.cancel().catch(() => {});
      return { ok: false, code };
    };
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (isLate) {
          bytesOfAll -= length;
          return { ok: false, code: 'request_timeout' };
        }
        if (done) return { ok: true, body: joinChunks(chunks, length) };
        length += value.byteLength;
        bytesOfAll += value.byteLength;
        if (length > limits.requestBytesMax) return refuse('request_too_large');
        if (bytesOfAll > limits.requestBodiesBytesMax) return refuse('bodies_full');
        chunks.push(value);
      }
    } catch {
      bytesOfAll -= length;
      return { ok: false, code: isLate ? 'request_timeout' : 'bad_request' };
    } finally {
      ended.abort();
    }
  };

  return {
    async read(request, contentLength) {
      if (contentLength !== null && Number.isNaN(contentLength)) return { ok: false, code: 'bad_request' };
      if ((contentLength ?? 0) > limits.requestBytesMax) return { ok: false, code: 'request_too_large' };
      if (request.body === null) return { ok: true, body: new Uint8Array(0) };
      reading += 1;
      try {
        return await readAll(request.body);
      } finally {
        reading -= 1;
      }
    },
    release(body) {
      bytesOfAll -= body.byteLength;
    },
    unfinished: () => reading,
  };
}
