// What the engine process writes on its pipes: a first line with its version, and log lines.
import { ENGINE_BOUNDS } from '../../base/limits/engine.ts';
import type { Log } from '../../base/log.ts';

const FIRST_LINE_LENGTH_MAX = 256;

/** The first line of `stream`, which is cancelled afterwards; throws when there is none. */
export async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let text = '';
  try {
    while (!text.includes('\n') && text.length < FIRST_LINE_LENGTH_MAX) {
      const { done, value } = await reader.read();
      if (done) throw new Error('the engine process ended without telling its version');
      text += decoder.decode(value, { stream: true });
    }
    return text.slice(0, Math.min(text.indexOf('\n') >>> 0, FIRST_LINE_LENGTH_MAX));
  } finally {
    await reader.cancel();
  }
}

/** Logs the first `ENGINE_BOUNDS.logLinesMax` lines that a process writes, and drops the others. */
export async function logLines(stream: ReadableStream<Uint8Array>, log: Log): Promise<void> {
  const decoder = new TextDecoder();
  let rest = '';
  let count = 0;
  const write = (line: string): void => {
    if (line === '') return;
    count += 1;
    if (count <= ENGINE_BOUNDS.logLinesMax) log.warn('output of the engine process', { line });
  };
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = (lines.pop() ?? '').slice(0, ENGINE_BOUNDS.logLineLengthMax);
    for (const line of lines) write(line.slice(0, ENGINE_BOUNDS.logLineLengthMax));
  }
  write(rest);
}
