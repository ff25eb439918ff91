// Drops the custom sections of a module, so that nothing in them reaches the compiler.
import { joinParts, type Sliced } from '../../base/concurrency.ts';
import { ModuleReader } from './parser/reader.ts';

const HEADER_BYTES = 8;
const CUSTOM = 0;
const KEPT = 'name';

/**
 * A copy of `bytes` without custom sections, except for `name`, which makes traps readable; everything else
 * is the same byte for byte. `bytes` must have passed `parseModule`: it throws for malformed ones.
 */
export function* stripCustomSections(bytes: Uint8Array): Sliced<Uint8Array> {
  const reader = new ModuleReader(bytes);
  const kept: Uint8Array[] = [bytes.subarray(0, HEADER_BYTES)];
  reader.skip(HEADER_BYTES);
  while (reader.position < reader.end) {
    const start = reader.position;
    const id = reader.byte();
    const sizeBytes = reader.u32();
    const isKept = reader.within(sizeBytes, 'section', () => {
      const name = id === CUSTOM ? reader.name(bytes.length) : KEPT;
      reader.position = reader.end;
      return name === KEPT;
    });
    if (isKept) kept.push(bytes.subarray(start, reader.position));
  }
  return yield* joinParts(kept);
}
