// The start block of a worker (`struct edge_start`), as bytes; pure.
import { POOL_BOUNDS } from '../../base/limits/pool.ts';
import { REQUEST_BOUNDS } from '../../base/limits/request.ts';
import type { VersionSettings } from '../../model/function.ts';
import type { Allocator } from '../../model/wasm/report.ts';

/** Numbers of `edge_start.allocator`. */
const ALLOCATOR: Record<Allocator, number> = { none: 0, alloc: 1, malloc: 2, cabi_realloc: 3, __new: 4 };
const ISOLATION: Record<VersionSettings['isolation'], number> = { clean: 0, reuse: 1 };

/** What the parser found in the module. */
export type ModuleFacts = { allocator: Allocator; memoryPagesMin: number };

export function encodeStartBlock(settings: VersionSettings, facts: ModuleFacts): Uint8Array {
  const encoder = new TextEncoder();
  const entrypoint = encoder.encode(settings.entrypoint);
  const env = encoder.encode(
    Object.entries(settings.env)
      .map(([name, value]) => `${name}=${value.replaceAll('\0', '')}\0`)
      .join(''),
  );
  const words = [
    settings.memory_pages,
    ISOLATION[settings.isolation],
    settings.max_reuse,
    ALLOCATOR[facts.allocator],
    facts.memoryPagesMin,
    REQUEST_BOUNDS.responseCapBytes,
    REQUEST_BOUNDS.hostCallsMax,
    REQUEST_BOUNDS.logLinesMax,
    POOL_BOUNDS.workerStackBytes,
    POOL_BOUNDS.workerOverheadBytes,
    entrypoint.length,
    env.length,
  ];
  const block = new Uint8Array(words.length * 4 + entrypoint.length + env.length);
  const view = new DataView(block.buffer);
  words.forEach((word, index) => view.setUint32(index * 4, word, true));
  block.set(entrypoint, words.length * 4);
  block.set(env, words.length * 4 + entrypoint.length);
  return block;
}
