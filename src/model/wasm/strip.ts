// Drops the custom sections of a module, so that nothing in them reaches the compiler.
import { ModuleReader } from './parser/reader.ts';

const HEADER_BYTES = 8;
const CUSTOM = 0;
const KEPT = 'name';

/**
 * A copy of `bytes` without custom sections, except for `name`, which makes traps readable; everything else
 * is the same byte for byte. `bytes` must have passed `parseModule`: it throws for malformed ones.
 */
export function stripCustomSections(bytes: Uint8Array): Uint8Array {
  const reader = new ModuleReader(bytes);
  const kept = new Uint8Array(bytes.length);
  let length = 0;
  const keep = (from: number, to: number): void => {
    kept.set(bytes.subarray(from, to), length);
    length += to - from;
  };
  reader.skip(HEADER_BYTES);
  keep(0, HEADER_BYTES);
  while (reader.position < reader.end) {
    const start = reader.position;
    const id = reader.byte();
    const sizeBytes = reader.u32();
    const isKept = reader.within(sizeBytes, 'section', () => {
      const name = id === CUSTOM ? reader.name(bytes.length) : KEPT;
      reader.position = reader.end;
      return name === KEPT;
    });
    if (isKept) keep(start, reader.position);
  }
  return kept.slice(0, length);
}
