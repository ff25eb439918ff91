// Uploads a module in chunks and shows the progress.
import type { OpenBody } from './api.ts';
import type { Terminal } from './terminal.ts';

const CHUNK_BYTES = 64 * 1024;

/** A body of `bytes`; calls `onProgress` with the number of bytes that were read from it so far. */
export function createBody(bytes: Uint8Array, onProgress: (done: number) => void): OpenBody {
  return () => {
    let done = 0;
    const stream = new ReadableStream<Uint8Array>({
      pull(controller) {
        onProgress(done);
        if (done >= bytes.length) return controller.close();
        const chunk = bytes.slice(done, done + CHUNK_BYTES);
        done += chunk.length;
        controller.enqueue(chunk);
      },
    });
    return { stream, bytes: bytes.length };
  };
}

/** Runs `send` with a body of `bytes` and shows its progress on the terminal. */
export async function upload(
  terminal: Terminal,
  bytes: Uint8Array,
  send: (open: OpenBody) => Promise<void>,
): Promise<void> {
  const meter = terminal.openMeter({ total: bytes.length });
  const megabytes = (count: number): string => (count / 1e6).toFixed(1);
  try {
    const open = createBody(bytes, (done) => {
      meter.update(done, `uploading ${megabytes(done)} of ${megabytes(bytes.length)} MB`);
    });
    await send(open);
  } finally {
    meter.close();
  }
}
