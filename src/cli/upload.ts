// Sends a module in chunks, with a meter that shows how far it is.
import type { OpenBody } from './api.ts';
import type { Terminal } from './terminal.ts';

const CHUNK_BYTES = 64 * 1024;

/** A body that gives `bytes` in chunks and tells how many have been taken. */
export function createBody(bytes: Uint8Array, onTaken: (taken: number) => void): OpenBody {
  return () => {
    let taken = 0;
    const stream = new ReadableStream<Uint8Array>({
      pull(controller) {
        onTaken(taken);
        if (taken >= bytes.length) return controller.close();
        const chunk = bytes.slice(taken, taken + CHUNK_BYTES);
        taken += chunk.length;
        controller.enqueue(chunk);
      },
    });
    return { stream, bytes: bytes.length };
  };
}

/** Runs `send` with a body of `bytes` under a meter. */
export async function uploading(
  tools: { terminal: Terminal },
  bytes: Uint8Array,
  send: (open: OpenBody) => Promise<void>,
): Promise<void> {
  const meter = tools.terminal.openMeter({ total: bytes.length });
  const megabytes = (count: number): string => (count / 1e6).toFixed(1);
  try {
    await send(
      createBody(bytes, (taken) => {
        meter.update(taken, `uploading ${megabytes(taken)} of ${megabytes(bytes.length)} MB`);
      }),
    );
  } finally {
    meter.close();
  }
}
