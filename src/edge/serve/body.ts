// Request bodies: read whole, bounded in size, in time, and in the bytes of all bodies on this node.
import type { Clock } from '../../base/clock.ts';
import { REQUEST_BOUNDS } from '../../base/limits/request.ts';
import { joinChunks } from '../../base/streams.ts';

export type BodyOutcome =
  | { ok: true; body: Uint8Array }
  | { ok: false; code: 'request_too_large' | 'request_timeout' | 'bodies_full' | 'bad_request' };

export type BodyLimits = {
  requestBytesMax: number;
  /** From the first read to the last byte, however steadily bytes trickle in. */
  requestBodyMs: number;
  /** Of all bodies on this node, from their first byte until `release`; one project may have a part. */
  requestBodiesBytesMax: number;
};

/** Stands for a project: whoever has the same one shares a bound. */
export type Share = object;

export type Bodies = {
  /** After a success the caller releases the body; a refused one is released already. */
  read(request: Request, contentLength: number | null, share: Share): Promise<BodyOutcome>;
  release(body: Uint8Array, share: Share): void;
  /** How many are being read at this moment. */
  unfinished(): number;
};

export function createBodies(options: { clock: Clock; limits: BodyLimits }): Bodies {
  const { clock, limits } = options;
  let bytesOfAll = 0;
  const bytesOfShare = new WeakMap<Share, number>();
  const shareBytesMax = Math.max(
    limits.requestBytesMax,
    limits.requestBodiesBytesMax * REQUEST_BOUNDS.bodiesShareMax,
  );
  const count = (share: Share, bytes: number): void => {
    bytesOfAll += bytes;
    bytesOfShare.set(share, (bytesOfShare.get(share) ?? 0) + bytes);
  };
  const isFull = (share: Share): boolean =>
    bytesOfAll > limits.requestBodiesBytesMax || (bytesOfShare.get(share) ?? 0) > shareBytesMax;
  let reading = 0;

  const readAll = async (stream: ReadableStream<Uint8Array>, share: Share): Promise<BodyOutcome> => {
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
      count(share, -length);
      reader.cancel().catch(() => {});
      return { ok: false, code };
    };
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (isLate) {
          count(share, -length);
          return { ok: false, code: 'request_timeout' };
        }
        if (done) return { ok: true, body: joinChunks(chunks, length) };
        length += value.byteLength;
        count(share, value.byteLength);
        if (length > limits.requestBytesMax) return refuse('request_too_large');
        if (isFull(share)) return refuse('bodies_full');
        chunks.push(value);
      }
    } catch {
      count(share, -length);
      return { ok: false, code: isLate ? 'request_timeout' : 'bad_request' };
    } finally {
      ended.abort();
    }
  };

  return {
    async read(request, contentLength, share) {
      if (contentLength !== null && Number.isNaN(contentLength)) return { ok: false, code: 'bad_request' };
      if ((contentLength ?? 0) > limits.requestBytesMax) return { ok: false, code: 'request_too_large' };
      if (request.body === null) return { ok: true, body: new Uint8Array(0) };
      reading += 1;
      try {
        return await readAll(request.body, share);
      } finally {
        reading -= 1;
      }
    },
    release: (body, share) => count(share, -body.byteLength),
    unfinished: () => reading,
  };
}
